-- Notes what a worker tells of its job: packed, for each its name and its data.
-- What is beyond what is kept is counted.
local function tell(id, job, events)
    local kept = call('LLEN', P .. ':e:' .. id) + (tells_start(job) and 1 or 0)
    local at, name, data = 1, nil, nil
    while at <= #events do
        name, data, at = struct.unpack('<Hc0Ic0', events, at)
        if kept >= terms[MAX_EVENTS] or job[EVENT_BYTES] + #data > terms[MAX_EVENT_BYTES] then
            job[DROPPED] = job[DROPPED] + 1
        else
            note(id, now, job[TOKEN], name, data)
            kept, job[EVENT_BYTES] = kept + 1, job[EVENT_BYTES] + #data
        end
    end
end
