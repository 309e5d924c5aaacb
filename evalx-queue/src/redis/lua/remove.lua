-- Forgets jobs that have ended. ARGV[2..]: their ids. Gives how many there were.
local ids, removed = open(2), 0
for _, id in ipairs(ids) do
    local job = known(id)
    if job and has_ended(job) then
        forget({id})
        touch(id)
        removed = removed + 1
    end
end
save()
return removed
