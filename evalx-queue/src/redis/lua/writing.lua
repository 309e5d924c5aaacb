-- How a script writes: what is of one kind is gathered, and written together.

-- A key that never exists. The first write of a script decides whether it is
-- refused when the memory is full. DEL is not, so that jobs can be finished
-- where there is no room for new ones; SETRANGE is, before anything is written.
local NONE = P .. ':none'
-- Where the jobs of a state are: those that a worker has, and those that have ended.
local LEASE = P .. ':lease'
local ENDED = {done = P .. ':d:done', dead = P .. ':d:dead', cancelled = P .. ':d:cancelled'}

-- A number as text. A script has the same times over and over, and each number
-- that is handed to a command is printed as if it were no whole one.
local texts = {}
local function digits(number)
    local text = texts[number] or string.format('%d', number)
    texts[number] = text
    return text
end

-- One more word, or two, of a command on a key that can take many.
local gathered, order = {}, {}
local function gather(command, key, first, second)
    local words = gathered[key]
    if not words then
        words = {command, key}
        gathered[key] = words
        order[#order + 1] = key
    elseif words[1] ~= command then
        call(unpack(words))
        words = {command, key}
        gathered[key] = words
    end
    words[#words + 1] = first
    words[#words + 1] = second
end
-- Must come before what was gathered is read.
local function write_gathered()
    for _, key in ipairs(order) do call(unpack(gathered[key])) end
    gathered, order = {}, {}
end

-- Counts of jobs that wait or are in flight, by a name.
local deltas = {}
local function count(kind, name, by)
    local names = deltas[kind]
    if not names then
        names = {}
        deltas[kind] = names
    end
    names[name] = (names[name] or 0) + by
end
local flying = {}
-- How many jobs of a tenant are in flight.
local function in_flight(tenant)
    flying[tenant] = flying[tenant] or tonumber(call('HGET', P .. ':n:fly', tenant) or 0)
    local names = deltas[':n:fly']
    return flying[tenant] + (names and names[tenant] or 0)
end

local settings = {}
local function set(field, value)
    ctl[field] = value
    settings[#settings + 1] = field
    settings[#settings + 1] = value
end

local marked, changed = {}, {}
-- Notes that a job is to be written.
local function mark(id)
    if not marked[id] then
        marked[id] = true
        changed[#changed + 1] = id
    end
end

-- What is to be written along with the jobs: keys and values.
local words = {}
local function put(key, value)
    words[#words + 1] = key
    words[#words + 1] = value
end

local touched = {}
-- Notes that those who watch a job are to be told.
local function touch(id) touched[#touched + 1] = id end
local function tell(stream, most, ids)
    if tonumber(ctl['watched' .. stream] or 0) > now then
        call('XADD', P .. stream, 'MAXLEN', '~', most, '*', 'i', ids)
    end
end

-- Writes all that has changed.
local function save()
    write_gathered()
    for kind, names in pairs(deltas) do
        for name, by in pairs(names) do
            if by ~= 0 and call('HINCRBY', P .. kind, name, by) <= 0 then call('HDEL', P .. kind, name) end
        end
    end
    for _, id in ipairs(changed) do
        if jobs[id] then put(job_key(id), pack(jobs[id])) end
    end
    if #words > 0 then call('MSET', unpack(words)) end
    if #settings > 0 then call('HSET', P .. ':ctl', unpack(settings)) end
    if #touched > 0 then tell(':ev', 10000, table.concat(touched, ' ')) end
end

-- Counts a job among those that wait, or no longer.
local function wait(job, by)
    count(':n:wait', job[TENANT], by)
    count(':n:lang', job[LANGUAGE], by)
end

-- How many jobs of each priority are ready, and how many of a tenant.
local READY = {[0] = P .. ':s:0', P .. ':s:1', P .. ':s:2'}
local counts = {}
local function ready(level)
    counts[level] = counts[level] or call('ZCARD', READY[level])
    return counts[level]
end
local function all_ready() return ready(0) + ready(1) + ready(2) end
local lanes = {[0] = {}, {}, {}}
local function lane_of(level, tenant)
    local lane = lanes[level][tenant]
    if not lane then
        local key = lane_key(level, tenant)
        lane = {key = key, size = call('ZCARD', key)}
        lanes[level][tenant] = lane
    end
    return lane
end

-- Puts a job into its tenant's lane; gives that.
local function make_ready(id)
    local job = jobs[id]
    local level = job[LEVEL]
    job[STATE], job[SINCE] = 'ready', now
    mark(id)
    counts[level] = ready(level) + 1
    local lane = lane_of(level, job[TENANT])
    lane.size = lane.size + 1
    if lane.size == 1 then gather('RPUSH', P .. ':g:' .. level, job[TENANT]) end
    gather('ZADD', lane.key, job[ORDINAL], id)
    gather('ZADD', READY[level], digits(now), id)
    return lane
end
local function put_off(id, till)
    jobs[id][STATE], jobs[id][UNTIL] = 'delayed', till
    mark(id)
    gather('ZADD', P .. ':delayed', till, id)
end

-- Wakes one worker that waits; whoever claims and leaves some wakes the next.
local function signal()
    if call('EXISTS', P .. ':sig') == 0 then call('RPUSH', P .. ':sig', '1') end
end

-- Notes an event of a job. (Not by one format: `%s` ends at a zero byte.)
local function note(id, at, token, name, data)
    local job, key = jobs[id], P .. ':e:' .. id
    if tells_start(job) then
        job[NOTED] = job[TOKEN]
        mark(id)
        gather('RPUSH', key, string.format('%.0f %.0f started\n', job[STARTED], job[TOKEN]))
    end
    gather('RPUSH', key, string.format('%.0f %.0f ', at, token) .. name .. '\n' .. data)
end

-- The blobs of a job, one after the other. Most have none.
local function nothing() return nil end
local function each_blob(list)
    if list == '' then return nothing end
    return string.gmatch(list, '%S+')
end
