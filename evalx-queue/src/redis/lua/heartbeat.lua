-- Renews leases. ARGV[2..]: id, token of each. Gives for each how long it holds,
-- -1 if it is lost, and then whether it is to be cancelled.
local ids, answers = open(2, 2), {}
call('DEL', NONE)
for at = 1, #ids do
    local id, valid = ids[at], -1
    local job = known(id)
    if job and job[STATE] == 'active' and job[TOKEN] == tonumber(ARGV[at * 2 + 1]) then
        local till = math.min(now + terms[LEASE], job[STARTED] + job[MAX_RUN] + terms[GRACE])
        if now < till then
            valid = till - now
            job[UNTIL] = till
            changed[id] = true
            plan(till)
            gather('ZADD', LEASE, digits(till), id)
        end
    end
    answers[#answers + 1] = valid
    answers[#answers + 1] = job and job[CANCEL] or 0
end
save()
return answers
