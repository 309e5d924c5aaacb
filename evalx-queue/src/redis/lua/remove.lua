-- Forgets jobs that have ended. ARGV: their ids.
local removed = 0
for _, id in ipairs(ARGV) do
    local state = state_of(id)
    if state == 'done' or state == 'dead' or state == 'cancelled' then
        forget(id)
        touch(id)
        removed = removed + 1
    end
end
tell()
return removed
