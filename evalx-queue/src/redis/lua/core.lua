-- What every script begins with: names of keys, what all processes share, and
-- the jobs. KEYS[1] is the prefix of all keys of one queue; it holds a hash tag,
-- so that in a cluster they are in one slot.
--
-- A command costs about a microsecond, and each new string is hashed, byte by
-- byte. So a script reads all jobs that it needs by one command, changes them
-- here, and writes them by one command at its end.
local P = KEYS[1]
local call = redis.call

-- What may be changed for all processes, and figures of the queue; as text, or
-- false for what is not set.
local set_to = call('HMGET', P .. ':ctl', 'now', 'paused', 'draining', 'max_depth', 'tenant_depth',
    'tenant_in_flight', 'watched:ev', 'watched:cx', 'average', 'completed', 'retries', 'crashes', 'ordinal', 'turn')
local ctl = {now = set_to[1], paused = set_to[2], draining = set_to[3], max_depth = set_to[4],
    tenant_depth = set_to[5], tenant_in_flight = set_to[6], ['watched:ev'] = set_to[7], ['watched:cx'] = set_to[8],
    average = set_to[9], completed = set_to[10], retries = set_to[11], crashes = set_to[12], ordinal = set_to[13],
    turn = set_to[14]}

-- The time: the server's, unless a test has stopped it.
local now = ctl.now and tonumber(ctl.now)
if not now then
    local time = call('TIME')
    now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end

-- A job is a packed list of fields, which are written here by their names, as
-- `job[STATE]`; record.rs has their places.
local keys_of = {}
local function job_key(id)
    local key = keys_of[id] or P .. ':j:' .. id
    keys_of[id] = key
    return key
end
local function lane_key(level, tenant) return P .. ':q:' .. level .. ':' .. tenant end

-- The jobs of this call, by id; false for one that there is not.
local jobs = {}
local function load(ids)
    local missing, keys = {}, {}
    for _, id in ipairs(ids) do
        if jobs[id] == nil then
            jobs[id] = false
            missing[#missing + 1] = id
            keys[#keys + 1] = job_key(id)
        end
    end
    if #keys == 0 then return end
    for at, record in ipairs(call('MGET', unpack(keys))) do
        if record then jobs[missing[at]] = {struct.unpack('RECORD_FORMAT', record)} end
    end
end

local function pack(job) return struct.pack('RECORD_FORMAT', RECORD_FIELDS) end

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

-- Why the last attempt at a job failed.
local function last_error(id)
    return string.match(call('LINDEX', P .. ':x:' .. id, -1) or '', '^[^\n]*\n(.*)$') or ''
end
