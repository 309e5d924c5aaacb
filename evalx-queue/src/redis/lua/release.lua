-- Hands jobs back. ARGV[6..]: id, token of each.
even_if_full()
local answers = {}
for at = 6, #ARGV, 2 do
    local id, token = ARGV[at], ARGV[at + 1]
    local job = call('HMGET', job_key(id), 's', 'k', 'y', 't', 'l', 'p', 'n', 'z', 'r', 'B')
    if job[3] == token and job[2] == token and state_of(id) then
        answers[#answers + 1] = 1
    elseif job[1] ~= 'active' or job[2] ~= token then
        answers[#answers + 1] = 0
    else
        call('HSET', job_key(id), 'y', token)
        call('HINCRBY', job_key(id), 'a', -1)
        take_back(id, job[4])
        if job[8] then
            finish_as(id, 'cancelled', job[9], job[10])
        else
            note(id, now, token, 'released', '')
            enter(job[4], job[5])
            make_ready(id, job[6], job[4], job[7])
            touch(id)
        end
        answers[#answers + 1] = 1
    end
end
if ready_count() > 0 then signal() end
tell()
return answers
