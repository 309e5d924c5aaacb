-- How a script writes: what is of one kind is gathered, and written together.

-- A key that never exists. The first write of a script decides whether it is
-- refused when the memory is full. DEL is not, so that jobs can be finished
-- where there is no room for new ones; SETRANGE is, before anything is written.
local NONE = P .. ':none'
-- Where the jobs of a state are: those that a worker has, and those that have ended.
local LEASE = P .. ':lease'
local ENDED = {done = P .. ':d:done', dead = P .. ':d:dead', cancelled = P .. ':d:cancelled'}
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
-- Notes that a job is to be written; what was written already is forgotten so.
local changed = {}
local function mark(id) changed[id] = true end

-- Notes that those who follow a job's changes are to be told.
local touched = {}
local function touch(id)
    if book[CHANGES_FOLLOWED] > now then touched[#touched + 1] = id end
end
local function tell(stream, most, ids) call('XADD', P .. stream, 'MAXLEN', '~', most, '*', 'i', ids) end

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
        if jobs[id] then put(job_key(id), pack(jobs[id])) end
    end
    local book_after = PACK(book)
    if book_after ~= book_before then put(P .. ':book', book_after) end
    if #words > 0 then call('MSET', unpack(words)) end
    if #touched > 0 then tell(':ev', 10000, table.concat(touched, ' ')) end
end

-- Notes that something is due at a time.
local function plan(time)
    if time < book[DUE] then book[DUE] = time end
end

-- The jobs of each priority that are ready, by how long, and how many.
local READY_SETS = {[0] = P .. ':s:0', P .. ':s:1', P .. ':s:2'}
local function all_ready() return book[READY + 0] + book[READY + 1] + book[READY + 2] end
-- The jobs of a tenant that are ready.
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
    local level, tenant = job[LEVEL], job[TENANT]
    job[STATE], job[SINCE] = 'ready', now
    mark(id)
    book[READY + level] = book[READY + level] + 1
    local lane = lane_of(level, tenant)
    lane.size = lane.size + 1
    if lane.size == 1 then
        count('wait', tenant, 1)
        gather('RPUSH', P .. ':g:' .. level, tenant)
    end
    gather('ZADD', lane.key, digits(job[ORDINAL]), id)
    gather('ZADD', READY_SETS[level], digits(now), id)
    return lane
end
local function put_off(id, till)
    local job = jobs[id]
    job[STATE], job[UNTIL] = 'delayed', till
    mark(id)
    plan(till)
    count('wait', job[TENANT], 1)
    gather('ZADD', P .. ':delayed', digits(till), id)
end

-- Wakes one worker, if any can be waiting; whoever claims and leaves some wakes the next.
local function signal()
    if book[AWAITED] > now and call('EXISTS', P .. ':sig') == 0 then call('RPUSH', P .. ':sig', '1') end
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
