-- Tells events of a job. ARGV[2..]: id, token, nonce, then name, data of each.
open(2, #ARGV)
local id, token, nonce = ARGV[2], tonumber(ARGV[3]), ARGV[4]
local job = known(id)
if not job or job[STATE] ~= 'active' or job[TOKEN] ~= token then return 0 end
if job[EVENT_NONCE] == nonce then return 1 end
local kept = call('LLEN', P .. ':e:' .. id) + (tells_start(job) and 1 or 0)
for at = 5, #ARGV, 2 do
    local size = #ARGV[at + 1]
    if kept >= terms[MAX_EVENTS] or job[EVENT_BYTES] + size > terms[MAX_EVENT_BYTES] then
        job[DROPPED] = job[DROPPED] + 1
    else
        note(id, now, token, ARGV[at], ARGV[at + 1])
        kept, job[EVENT_BYTES] = kept + 1, job[EVENT_BYTES] + size
    end
end
job[EVENT_NONCE] = nonce
changed[id] = true
touch(id)
save()
return 1
