-- What every script begins with: names of keys, the book, and the jobs. KEYS[1]
-- is the prefix of all keys of one queue; it holds a hash tag, so that in a
-- cluster they are in one slot. ARGV[1] are the terms of the process that calls.
--
-- A command costs about a microsecond, and each new string is hashed, byte by
-- byte; a table that grows is copied, and what was made is collected. So a
-- script reads all that it needs by one command, changes it here, and writes it
-- by one command at its end.
local P = KEYS[1]
local call = redis.call

-- The book, a job and the terms are lists of fields, which are written here by
-- their names, as `job[STATE]`; record.rs has their places.
local book, book_before, now
-- The jobs of this call, by id; false for one that there is not.
local jobs = {}
local function job_key(id) return P .. ':j:' .. id end
local function lane_key(level, tenant) return P .. ':q:' .. level .. ':' .. tenant end

-- Reads the book, and the jobs whose ids are ARGV[first] and each so many after
-- it; gives those, and what is under one more key. The time is the server's,
-- unless a test has stopped it.
local function open(first, step, other)
    local ids, keys = {}, {P .. ':book'}
    for at = first or #ARGV + 1, #ARGV, step or 1 do
        ids[#ids + 1] = ARGV[at]
        keys[#keys + 1] = job_key(ARGV[at])
    end
    keys[#keys + 1] = other
    local values = call('MGET', unpack(keys))
    book_before = values[1]
    if book_before and string.byte(book_before) ~= THIS_LAYOUT then error('LAYOUT') end
    book = book_before and {UNPACK(book, book_before)} or {EMPTY(book)}
    book[LAYOUT] = THIS_LAYOUT
    for at = 1, #ids do jobs[ids[at]] = values[at + 1] and {UNPACK(job, values[at + 1])} end
    now = book[NOW]
    if now == 0 then
        local time = call('TIME')
        now = time[1] * 1000 + math.floor(time[2] / 1000)
    end
    return ids, other and values[#keys]
end

-- Reads those jobs that are not here yet.
local function load(ids)
    local missing, keys = {}, {}
    for at = 1, #ids do
        local id = ids[at]
        if jobs[id] == nil then
            jobs[id] = false
            missing[#missing + 1] = id
            keys[#keys + 1] = job_key(id)
        end
    end
    if #keys == 0 then return end
    local values = call('MGET', unpack(keys))
    for at = 1, #missing do jobs[missing[at]] = values[at] and {UNPACK(job, values[at])} end
end

local function has_ended(job)
    local state = job[STATE]
    return state == 'done' or state == 'dead' or state == 'cancelled'
end

-- A job, or nil if there is none or its time is up.
local function known(id)
    if jobs[id] == nil then load({id}) end
    local job = jobs[id]
    if job and not (has_ended(job) and job[UNTIL] <= now) then return job end
    return nil
end

-- Whether the job's last start is told by the job itself: it is put among its
-- events only when another follows it.
local function tells_start(job) return job[TOKEN] > job[NOTED] end
