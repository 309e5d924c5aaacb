-- Cancels a job. ARGV[6]: its id.
call('DEL', NONE)
local id = ARGV[6]
local job = known(id)
if not job then return 'not_found' end
if has_ended(job) then return 'too_late' end
job[CANCEL] = 1
mark(id)
if job[STATE] == 'active' then
    touch(id)
    save()
    tell(':cx', 1000, id)
    return 'requested'
end
if job[STATE] == 'delayed' then
    call('ZREM', P .. ':delayed', id)
else
    local level, lane = job[LEVEL], lane_key(job[LEVEL], job[TENANT])
    call('ZREM', READY[level], id)
    call('ZREM', lane, id)
    if call('EXISTS', lane) == 0 then call('LREM', P .. ':g:' .. level, 1, job[TENANT]) end
end
wait(job, -1)
finish_as(id, 'cancelled')
save()
return 'done'
