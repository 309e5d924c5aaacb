-- Cancels a job. ARGV[2..3]: its id, how long ago the call was first made, 0 if
-- it is not repeated.
open(2, #ARGV)
call('DEL', NONE)
local id = ARGV[2]
local job = known(id)
if not job then return 'not_found' end
-- The answer of the call before may have been lost.
if ARGV[3] ~= '0' and job[STATE] == 'cancelled' then return 'done' end
if has_ended(job) then return 'too_late' end
job[CANCEL] = 1
changed[id] = true
if job[STATE] == 'active' then
    touch(id)
    save()
    if book[CANCELLATIONS_FOLLOWED] > now then call('XADD', P .. ':cx', 'MAXLEN', '~', 1000, '*', 'i', id) end
    return 'requested'
end
local level, tenant = job[LEVEL], job[TENANT]
if job[STATE] == 'delayed' then
    call('ZREM', P .. ':delayed', id)
    count('wait', tenant, -1)
else
    local lane = lane_of(level, tenant)
    lane.size = lane.size - 1
    book[READY + level] = book[READY + level] - 1
    call('ZREM', P .. ':s:' .. level, id)
    call('ZREM', lane.key, id)
    if lane.size == 0 then
        call('LREM', P .. ':g:' .. level, 1, tenant)
        count('wait', tenant, -1)
    end
end
count('lang', job[LANGUAGE], -1)
finish_as(id, 'cancelled')
save()
return 'done'
