-- Renews leases. ARGV: lease, grace, then id, token of each. Gives for each how
-- long it holds, -1 if it is lost, and then whether it is to be cancelled.
even_if_full()
local lease, grace = tonumber(ARGV[1]), tonumber(ARGV[2])
local answers = {}
for at = 3, #ARGV, 2 do
    local id, token = ARGV[at], ARGV[at + 1]
    local job = call('HMGET', job_key(id), 's', 'k', 'b', 'm', 'z')
    local valid = -1
    if job[1] == 'active' and job[2] == token then
        local most = tonumber(job[3]) + tonumber(job[4]) + grace
        if now < most then
            valid = math.min(lease, most - now)
            call('HSET', job_key(id), 'u', now + valid)
            call('ZADD', P .. ':lease', now + valid, id)
        end
    end
    answers[#answers + 1] = valid
    answers[#answers + 1] = job[5] and 1 or 0
end
return answers
