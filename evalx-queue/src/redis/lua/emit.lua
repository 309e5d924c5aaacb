-- Tells events of a job. ARGV: max_events, max_event_bytes, id, token, nonce,
-- then name, data of each.
local id, token = ARGV[3], ARGV[4]
local key, list = job_key(id), P .. ':e:' .. id
local job = call('HMGET', key, 's', 'k', 'E', 'N')
if job[1] ~= 'active' or job[2] ~= token then return 0 end
if job[4] == ARGV[5] then return 1 end
local count, bytes, dropped = call('LLEN', list), tonumber(job[3] or 0), 0
for at = 6, #ARGV, 2 do
    local size = #ARGV[at + 1]
    if count >= tonumber(ARGV[1]) or bytes + size > tonumber(ARGV[2]) then
        dropped = dropped + 1
    else
        note(id, now, token, ARGV[at], ARGV[at + 1])
        count, bytes = count + 1, bytes + size
    end
end
call('HSET', key, 'E', bytes, 'N', ARGV[5])
if dropped > 0 then call('HINCRBY', key, 'D', dropped) end
touch(id)
tell()
return 1
