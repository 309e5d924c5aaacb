-- Forgets jobs that have ended. ARGV: their ids.
local removed = {}
load(ARGV)
for _, id in ipairs(ARGV) do
    local job = known(id)
    if job and has_ended(job) then
        forget({id})
        touch(id)
        removed[#removed + 1] = id
    end
end
save()
return #removed
