-- The events of a job after a number. ARGV[2..]: id, after, most.
open(2, #ARGV)
local id, after, most = ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local job = known(id)
if not job then return false end
local list, events = P .. ':e:' .. id, {}
local function add(number, at, token, name, data)
    if #events < most and number > after then
        events[#events + 1] = {number, string.format('%.0f %.0f ', at, token) .. name .. '\n' .. data}
    end
end
add(1, job[ENQUEUED], 0, 'queued', '')
local from = math.max(after, 1)
if #events < most then
    local kept = call('LRANGE', list, from - 1, from - 2 + most - #events)
    for index, event in ipairs(kept) do events[#events + 1] = {from + index, event} end
end
local last = call('LLEN', list) + 1
if tells_start(job) then
    last = last + 1
    add(last, job[STARTED], job[TOKEN], 'started', '')
end
if has_ended(job) then
    local why = job[STATE] == 'dead' and last_error(id) or ''
    add(last + 1, job[FINISHED], job[TOKEN], job[STATE], why)
end
return events
