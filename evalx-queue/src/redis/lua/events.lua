-- The events of a job after a number. ARGV: id, after, most.
local id, after, most = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local state = state_of(id)
if not state then return false end
local job = call('HMGET', job_key(id), 'q', 'f', 'k')
local list = P .. ':e:' .. id
local events = {}
if after < 1 then events[1] = {1, job[1] .. ' 0 queued\n'} end
local from = math.max(after, 1)
if #events < most then
    local kept = call('LRANGE', list, from - 1, from - 2 + most - #events)
    for index, event in ipairs(kept) do events[#events + 1] = {from + index, event} end
end
local last = call('LLEN', list) + 2
if #events < most and after < last and (state == 'done' or state == 'dead' or state == 'cancelled') then
    local why = ''
    if state == 'dead' then
        why = string.match(call('LINDEX', P .. ':x:' .. id, -1) or '', '^[^\n]*\n(.*)$') or ''
    end
    events[#events + 1] = {last, job[2] .. ' ' .. (job[3] or 0) .. ' ' .. state .. '\n' .. why}
end
return events
