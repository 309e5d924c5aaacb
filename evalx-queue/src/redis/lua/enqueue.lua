-- Puts jobs in. ARGV: max_depth, tenant_depth or '', idempotency_ttl, then for
-- each job its fields. Gives for each what became of it.
local max_depth = tonumber(ctl[4] or ARGV[1])
local tenant_depth = tonumber(ctl[5] or ARGV[2])
local idempotency_ttl = tonumber(ARGV[3])
local FIELDS = 14
local answers, woke = {}, false

local function admit(at)
    local id, tenant, language, level = ARGV[at], ARGV[at + 1], ARGV[at + 2], ARGV[at + 3]
    local key = job_key(id)
    local known = state_of(id)
    if known then return {'duplicate', id, known} end
    local idempotency, used_key = ARGV[at + 4], nil
    if idempotency ~= '' then
        used_key = P .. ':i:' .. #tenant .. ':' .. tenant .. ':' .. idempotency
        local used = call('GET', used_key)
        if used then
            local other, till, fingerprint = string.match(used, '^(%S+) (%d+) (.*)$')
            local state = other and tonumber(till) > now and state_of(other)
            if state and fingerprint == ARGV[at + 5] then return {'duplicate', other, state} end
            if state then return {'conflict', other} end
        end
    end
    if ctl[3] then return {'draining'} end
    local depth = ready_count() + call('ZCARD', P .. ':delayed')
    if depth >= max_depth then
        return {'full', 'queue', depth, call('ZCARD', P .. ':lease'), tonumber(ctl[7] or 0)}
    end
    if tenant_depth then
        local waiting = tonumber(call('HGET', P .. ':n:wait', tenant) or 0)
        if waiting >= tenant_depth then
            return {'full', 'tenant', waiting, call('ZCARD', P .. ':lease'), tonumber(ctl[7] or 0)}
        end
    end
    local blobs = ARGV[at + 12]
    for blob in string.gmatch(blobs, '%S+') do
        if call('EXISTS', P .. ':b:' .. blob) == 0 then return {'blob_gone', blob} end
    end
    -- From here on all is written, in an order in which the first write is
    -- refused if there is no memory: then nothing was.
    for blob in string.gmatch(blobs, '%S+') do
        call('HINCRBY', P .. ':pins', blob, 1)
        call('PERSIST', P .. ':b:' .. blob)
    end
    -- One of this id whose time is up, and which may have had the same blobs.
    if call('EXISTS', key) == 1 then forget(id) end
    local ordinal = call('HINCRBY', P .. ':ctl', 'ordinal', 1)
    local fields = {'t', tenant, 'l', language, 'p', level, 'n', ordinal, 'q', now, 'v', now, 'm', ARGV[at + 8],
        'M', ARGV[at + 9], 'r', ARGV[at + 10]}
    local function set(field, value)
        if value ~= '' then
            fields[#fields + 1] = field
            fields[#fields + 1] = value
        end
    end
    if ARGV[at + 7] ~= '' then set('x', now + tonumber(ARGV[at + 7])) end
    set('i', idempotency)
    set('T', ARGV[at + 11])
    set('B', blobs)
    local delay = tonumber(ARGV[at + 6])
    if delay > 0 then
        set('s', 'delayed')
        set('u', now + delay)
    else
        set('s', 'ready')
    end
    call('HSET', key, unpack(fields))
    call('SET', P .. ':p:' .. id, ARGV[at + 13])
    if used_key then
        local till = string.format('%.0f', now + idempotency_ttl)
        call('SET', used_key, id .. ' ' .. till .. ' ' .. ARGV[at + 5], 'PX', idempotency_ttl)
    end
    enter(tenant, language)
    if delay > 0 then
        call('ZADD', P .. ':delayed', now + delay, id)
        return {'accepted', id, -1}
    end
    local lane = lane_key(level, tenant)
    call('ZADD', lane, ordinal, id)
    if call('ZCARD', lane) == 1 then call('RPUSH', P .. ':g:' .. level, tenant) end
    call('ZADD', P .. ':s:' .. level, now, id)
    woke = true
    return {'accepted', id, position(id, tonumber(level), tenant)}
end

for at = 4, #ARGV, FIELDS do answers[#answers + 1] = admit(at) end
if woke then signal() end
return answers
