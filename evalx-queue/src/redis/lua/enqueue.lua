-- Puts jobs in. ARGV: max_depth, tenant_depth or '', idempotency_ttl, then for
-- each job its fields. Gives for each what became of it.
local max_depth = tonumber(ctl.max_depth or ARGV[1])
local tenant_depth = tonumber(ctl.tenant_depth or ARGV[2])
local idempotency_ttl = tonumber(ARGV[3])
local FIELDS = 14
local depth, waiting, rings, keys = nil, {}, {}, {}
local woke = false

-- How many jobs wait, and how many of a tenant.
local function depth_now()
    depth = depth or all_ready() + call('ZCARD', P .. ':delayed')
    return depth
end
local function waiting_of(tenant)
    waiting[tenant] = waiting[tenant] or tonumber(call('HGET', P .. ':n:wait', tenant) or 0)
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
local function refusal(tenant, blobs)
    if ctl.draining then return {'draining'} end
    local scope, most, has = 'queue', max_depth, depth_now()
    if has < most and tenant_depth then scope, most, has = 'tenant', tenant_depth, waiting_of(tenant) end
    if has >= most then return {'full', scope, has, call('ZCARD', LEASE), tonumber(ctl.average or 0)} end
    for blob in each_blob(blobs) do
        if call('EXISTS', P .. ':b:' .. blob) == 0 then return {'blob_gone', blob} end
    end
    return nil
end

local function admit(id, tenant, language, level, idempotency, fingerprint, delay, expires, max_run, max_attempts,
    ttl, trace, blobs, payload)
    if known(id) then return {'duplicate', id, known(id)[STATE]} end
    local key = idempotency ~= '' and P .. ':i:' .. #tenant .. ':' .. tenant .. ':' .. idempotency
    if key then
        local other, is_another = job_of(key, fingerprint)
        if other then return is_another and {'conflict', other} or {'duplicate', other, known(other)[STATE]} end
    end
    local refused = refusal(tenant, blobs)
    if refused then return refused end
    -- Here all is still as it was: if there is no room, none of the jobs is taken.
    call('SETRANGE', NONE, '0', '')
    for blob in each_blob(blobs) do
        call('HINCRBY', P .. ':pins', blob, 1)
        call('PERSIST', P .. ':b:' .. blob)
    end
    -- One of this id whose time is up, and which may have had the same blobs.
    if jobs[id] then forget({id}) end
    set('ordinal', (ctl.ordinal or 0) + 1)
    jobs[id] = {'', 0, tenant, language, level, ctl.ordinal, now, now, tonumber(max_run), tonumber(max_attempts),
        tonumber(ttl), expires ~= '' and now + tonumber(expires) or 0, idempotency, trace, blobs, #payload,
        0, 0, 0, 0, 0, 0, 0, '', 0, 0, '', 0}
    put(P .. ':p:' .. id, payload)
    if key then
        keys[key] = string.format('%s %.0f ', id, now + idempotency_ttl) .. fingerprint
        call('SET', key, keys[key], 'PX', idempotency_ttl)
    end
    wait(jobs[id], 1)
    if tenant_depth then waiting[tenant] = waiting[tenant] + 1 end
    depth = depth + 1
    if delay > 0 then
        put_off(id, now + delay)
        return {'accepted', id, -1}
    end
    woke = true
    local tenants = ring_of(level)
    local lane = make_ready(id)
    if lane.size == 1 then tenants = tenants + 1 end
    rings[level] = tenants
    local before = 0
    for higher = 0, level - 1 do before = before + ready(higher) end
    return {'accepted', id, before + math.min((lane.size - 1) * tenants + 1, ready(level))}
end

local ids, answers = {}, {}
for at = 4, #ARGV, FIELDS do ids[#ids + 1] = ARGV[at] end
load(ids)
for at = 4, #ARGV, FIELDS do
    answers[#answers + 1] = admit(ARGV[at], ARGV[at + 1], ARGV[at + 2], tonumber(ARGV[at + 3]), ARGV[at + 4],
        ARGV[at + 5], tonumber(ARGV[at + 6]), unpack(ARGV, at + 7, at + FIELDS - 1))
end
if woke then signal() end
save()
return answers
