-- Puts jobs in. ARGV[2] is how long ago the call was first made, 0 if it is not
-- repeated; then for each job: its id, the job, the fingerprint of its idempotency
-- key, and what is enqueued. Gives for each what became of it.
local FIELDS = 4
local ids, since = open(3, FIELDS), tonumber(ARGV[2])
local max_depth = book[MAX_DEPTH] > 0 and book[MAX_DEPTH] or terms[MAX_DEPTH]
local tenant_depth = book[TENANT_DEPTH] > 0 and book[TENANT_DEPTH] or terms[TENANT_DEPTH]
local depth, waiting, rings, keys = nil, {}, {}, {}
local woke = false

-- How many jobs wait, and how many of a tenant.
local function depth_now()
    depth = depth or all_ready() + call('ZCARD', P .. ':delayed')
    return depth
end
local function waiting_of(tenant)
    if not waiting[tenant] then
        local ready, all = 0, tonumber(call('HGET', P .. ':n:wait', tenant) or 0)
        for level = 0, 2 do
            local size = lane_of(level, tenant).size
            ready = ready + size
            if size > 0 then all = all - 1 end
        end
        waiting[tenant] = ready + all
    end
    return waiting[tenant]
end
local function ring_of(level)
    rings[level] = rings[level] or call('LLEN', P .. ':g:' .. level)
    return rings[level]
end

-- The job that an idempotency key stands for, and whether it is another.
local function job_of(key, fingerprint)
    local used = keys[key] or call('GET', key)
    if not used then return nil end
    local other, till, known_fingerprint = string.match(used, '^(%S+) (%d+) (.*)$')
    if not other or tonumber(till) <= now or not known(other) then return nil end
    return other, known_fingerprint ~= fingerprint
end

-- Why a job can't be taken, or nil.
local function refusal(job)
    if book[DRAINING] == 1 then return {'draining'} end
    local scope, most, has = 'queue', max_depth, depth_now()
    if has < most and tenant_depth > 0 then scope, most, has = 'tenant', tenant_depth, waiting_of(job[TENANT]) end
    if has >= most then return {'full', scope, has, call('ZCARD', LEASE), book[AVERAGE]} end
    for blob in string.gmatch(job[BLOBS], '%S+') do
        if call('EXISTS', P .. ':b:' .. blob) == 0 then return {'blob_gone', blob} end
    end
    return nil
end

-- Whether the call itself put a job in that is there already, when its answer was lost.
local function has_come_before(job) return since > 0 and job[ENQUEUED] >= now - since end

local function duplicate(id)
    local job = known(id)
    return job and {'duplicate', id, job[STATE]}
end

local function admit(id, job, fingerprint, payload)
    if known(id) then return has_come_before(jobs[id]) and {'accepted', id, -1} or duplicate(id) end
    local key = job[KEY] ~= '' and note_of_key(job)
    if key then
        local other, is_another = job_of(key, fingerprint)
        if other then return is_another and {'conflict', other} or duplicate(other) end
    end
    local refused = refusal(job)
    if refused then return refused end
    -- Here all is still as it was: if there is no room, none of the jobs is taken.
    call('SETRANGE', NONE, '0', '')
    for blob in string.gmatch(job[BLOBS], '%S+') do pin(blob) end
    -- One of this id whose time is up, and which may have had the same blobs.
    if jobs[id] then forget({id}) end
    local delay = job[UNTIL]
    book[ORDINAL] = book[ORDINAL] + 1
    job[ORDINAL], job[ENQUEUED], job[SINCE] = book[ORDINAL], now, now
    if job[EXPIRES] > 0 then job[EXPIRES] = now + job[EXPIRES] end
    jobs[id] = job
    put(P .. ':p:' .. id, payload)
    if key then
        keys[key] = string.format('%s %.0f ', id, now + terms[IDEMPOTENCY_TTL]) .. fingerprint
        call('SET', key, keys[key], 'PX', terms[IDEMPOTENCY_TTL])
    end
    count('lang', job[LANGUAGE], 1)
    if waiting[job[TENANT]] then waiting[job[TENANT]] = waiting[job[TENANT]] + 1 end
    depth = depth + 1
    if delay > 0 then
        put_off(id, now + delay)
        return {'accepted', id, -1}
    end
    woke = true
    local level = job[LEVEL]
    local tenants = ring_of(level)
    local lane = make_ready(id)
    if lane.size == 1 then tenants = tenants + 1 end
    rings[level] = tenants
    local before = 0
    for higher = 0, level - 1 do before = before + book[READY + higher] end
    return {'accepted', id, before + math.min((lane.size - 1) * tenants + 1, book[READY + level])}
end

local answers = {}
for at = 1, #ids do
    local first = FIELDS * at
    local job = {UNPACK(job, ARGV[first])}
    answers[at] = admit(ids[at], job, ARGV[first + 1], ARGV[first + 2])
end
if woke then signal() end
save()
return answers
