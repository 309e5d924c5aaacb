-- All that can be seen of a job; false if there is none.
local function view(id, with_result)
    if not state_of(id) then return false end
    local job = call('HMGET', job_key(id), 's', 't', 'l', 'p', 'a', 'c', 'k', 'q', 'b', 'f', 'u', 'x', 'w', 'z', 'T',
        'B', 'D')
    for field = 1, 17 do job[field] = job[field] or '' end
    local place = -1
    if job[1] == 'ready' then place = position(id, tonumber(job[4]), job[2]) end
    local errors = {}
    if job[1] ~= 'ready' or job[5] ~= '' then errors = call('LRANGE', P .. ':x:' .. id, 0, -1) end
    local result = with_result and job[1] == 'done' and call('GET', P .. ':r:' .. id)
    return {id, job, place, call('STRLEN', P .. ':p:' .. id), errors, result}
end
