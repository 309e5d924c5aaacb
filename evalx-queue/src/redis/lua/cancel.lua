-- Cancels a job. ARGV[6]: its id.
even_if_full()
local id = ARGV[6]
local state = state_of(id)
if not state then return 'not_found' end
if state == 'done' or state == 'dead' or state == 'cancelled' then return 'too_late' end
local job = call('HMGET', job_key(id), 't', 'l', 'p', 'r', 'B')
local tenant, level = job[1], job[3]
call('HSET', job_key(id), 'z', 1)
if state == 'active' then
    touch(id)
    tell()
    call('XADD', P .. ':cx', 'MAXLEN', '~', 1000, '*', 'i', id)
    return 'requested'
end
if state == 'delayed' then
    call('ZREM', P .. ':delayed', id)
else
    local lane = lane_key(level, tenant)
    call('ZREM', P .. ':s:' .. level, id)
    call('ZREM', lane, id)
    if call('EXISTS', lane) == 0 then call('LREM', P .. ':g:' .. level, 1, tenant) end
end
leave(tenant, job[2])
finish_as(id, 'cancelled', job[4], job[5])
tell()
return 'done'
