-- Renews leases. ARGV: lease, grace, then id, token of each. Gives for each how
-- long it holds, -1 if it is lost, and then whether it is to be cancelled.
call('DEL', NONE)
local lease, grace = tonumber(ARGV[1]), tonumber(ARGV[2])
local ids, answers = {}, {}
for at = 3, #ARGV, 2 do ids[#ids + 1] = ARGV[at] end
load(ids)
for at, id in ipairs(ids) do
    local job, valid = known(id), -1
    if job and job[STATE] == 'active' and job[TOKEN] == tonumber(ARGV[at * 2 + 2]) then
        local most = job[STARTED] + job[MAX_RUN] + grace
        if now < most then
            valid = math.min(lease, most - now)
            job[UNTIL] = now + valid
            mark(id)
            gather('ZADD', LEASE, now + valid, id)
        end
    end
    answers[#answers + 1] = valid
    answers[#answers + 1] = job and job[CANCEL] or 0
end
save()
return answers
