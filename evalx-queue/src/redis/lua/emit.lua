-- Tells events of a job. ARGV: max_events, max_event_bytes, id, token, nonce,
-- then name, data of each.
local id, token = ARGV[3], tonumber(ARGV[4])
local job = known(id)
if not job or job[STATE] ~= 'active' or job[TOKEN] ~= token then return 0 end
if job[EVENT_NONCE] == ARGV[5] then return 1 end
local kept = call('LLEN', P .. ':e:' .. id) + (tells_start(job) and 1 or 0)
for at = 6, #ARGV, 2 do
    local size = #ARGV[at + 1]
    if kept >= tonumber(ARGV[1]) or job[EVENT_BYTES] + size > tonumber(ARGV[2]) then
        job[DROPPED] = job[DROPPED] + 1
    else
        note(id, now, token, ARGV[at], ARGV[at + 1])
        kept, job[EVENT_BYTES] = kept + 1, job[EVENT_BYTES] + size
    end
end
job[EVENT_NONCE] = ARGV[5]
mark(id)
touch(id)
save()
return 1
