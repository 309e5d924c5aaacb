-- How a script writes: what is of one kind is gathered, and written together.

-- A key that never exists. The first write of a script decides whether it is
-- refused when the memory is full. DEL is not, so that jobs can be finished
-- where there is no room for new ones; SETRANGE is, before anything is written.
local NONE = P .. ':none'
-- Where the jobs are that a worker has. Those that have ended are in `:d:` and their state.
local LEASE = P .. ':lease'
local terms = {UNPACK(terms, ARGV[1])}

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
    if words and words[1] == command then
        words[#words + 1] = first
        words[#words + 1] = second
    else
        if words then call(unpack(words)) else order[#order + 1] = key end
        gathered[key] = {command, key, first, second}
    end
end
-- Must come before what was gathered is read.
local function write_gathered()
    for at = 1, #order do call(unpack(gathered[order[at]])) end
    gathered, order = {}, {}
end

-- Counts by a name, and by how much they change: `fly` are the jobs of a tenant
-- in flight, `lang` those of a language that wait; `wait` are the lanes of a
-- tenant that have jobs, and its jobs that are put off.
local deltas = {}
local function count(kind, name, by)
    local names = deltas[kind]
    if names then names[name] = (names[name] or 0) + by else deltas[kind] = {[name] = by} end
end
local flying = {}
local function in_flight(tenant)
    flying[tenant] = flying[tenant] or tonumber(call('HGET', P .. ':n:fly', tenant) or 0)
    local names = deltas.fly
    return flying[tenant] + (names and names[tenant] or 0)
end

-- What is to be written along with the jobs and the book: keys and values.
local words = {}
local function put(key, value)
    words[#words + 1] = key
    words[#words + 1] = value
end
-- The jobs that are to be written.
local changed = {}

-- Notes that those who follow a job's changes are to be told.
local touched = {}
local function touch(id)
    if book[CHANGES_FOLLOWED] > now then touched[#touched + 1] = id end
end

-- Writes all that has changed.
local function save()
    write_gathered()
    for kind, names in pairs(deltas) do
        local key = P .. ':n:' .. kind
        for name, by in pairs(names) do
            if by ~= 0 and call('HINCRBY', key, name, by) <= 0 then call('HDEL', key, name) end
        end
    end
    for id in pairs(changed) do
        local job = jobs[id]
        if job then put(job_key(id), PACK(job)) end
    end
    local book_after = PACK(book)
    if book_after ~= book_before then put(P .. ':book', book_after) end
    if #words > 0 then call('MSET', unpack(words)) end
    if #touched > 0 then call('XADD', P .. ':ev', 'MAXLEN', '~', 10000, '*', 'i', table.concat(touched, ' ')) end
end

-- Notes that something is due at a time.
local function plan(time)
    if time < book[DUE] then book[DUE] = time end
end

local function all_ready() return book[READY + 0] + book[READY + 1] + book[READY + 2] end
-- The jobs of a tenant and a priority that are ready.
local lanes = {}
local function lane_of(level, tenant)
    local key = lane_key(level, tenant)
    local lane = lanes[key]
    if not lane then
        lane = {key = key, level = level, tenant = tenant, size = call('ZCARD', key)}
        lanes[key] = lane
    end
    return lane
end

-- Puts a job into its tenant's lane, and among all of its priority by how long
-- they are ready; gives the lane.
local function make_ready(id)
    local job = jobs[id]
    local level, tenant = job[LEVEL], job[TENANT]
    job[STATE], job[SINCE] = 'ready', now
    changed[id] = true
    book[READY + level] = book[READY + level] + 1
    local lane = lane_of(level, tenant)
    lane.size = lane.size + 1
    if lane.size == 1 then
        count('wait', tenant, 1)
        gather('RPUSH', P .. ':g:' .. level, tenant)
    end
    gather('ZADD', lane.key, digits(job[ORDINAL]), id)
    gather('ZADD', P .. ':s:' .. level, digits(now), id)
    return lane
end
local function put_off(id, till)
    local job = jobs[id]
    job[STATE], job[UNTIL] = 'delayed', till
    changed[id] = true
    plan(till)
    count('wait', job[TENANT], 1)
    gather('ZADD', P .. ':delayed', digits(till), id)
end

-- Wakes one worker, if any can be waiting; whoever claims and leaves some wakes the next.
local function signal()
    if book[AWAITED] > now and call('EXISTS', P .. ':sig') == 0 then call('RPUSH', P .. ':sig', '1') end
end

-- Keeps a blob while there is a job that names it, and notes till when it is kept
-- in any case.
local function pin(blob)
    local key = P .. ':b:' .. blob
    if call('HINCRBY', P .. ':pins', blob, 1) > 1 then return end
    call('HSET', P .. ':pins', blob .. ' till', now + call('PTTL', key))
    call('PERSIST', key)
end

-- Notes an event of a job. (Not by one format: `%s` ends at a zero byte.)
local function note(id, at, token, name, data)
    local job, key = jobs[id], P .. ':e:' .. id
    if tells_start(job) then
        job[NOTED] = job[TOKEN]
        changed[id] = true
        gather('RPUSH', key, string.format('%.0f %.0f started\n', job[STARTED], job[TOKEN]))
    end
    gather('RPUSH', key, string.format('%.0f %.0f ', at, token) .. name .. '\n' .. data)
end
