-- What every script begins with: names of keys, the time, and the first of the
-- single steps that all states share. KEYS[1] is the prefix of all keys of one
-- queue; it holds a hash tag, so that in a cluster they are in one slot.
local P = KEYS[1]
local call = redis.call

-- A write that can't be refused for want of memory: what follows may then
-- write too, so that jobs can be finished where there is no room for new ones.
local function even_if_full() call('DEL', P .. ':none') end

-- What may be changed for all processes, and the time: the server's, unless a
-- test has stopped it.
local ctl = call('HMGET', P .. ':ctl', 'now', 'paused', 'draining', 'max_depth', 'tenant_depth',
    'tenant_in_flight', 'average')
local now = tonumber(ctl[1] or false)
if not now then
    local time = call('TIME')
    now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end

local touched = {}
-- Notes that those who watch a job are to be told.
local function touch(id) touched[#touched + 1] = id end
local function tell()
    if #touched > 0 then
        call('XADD', P .. ':ev', 'MAXLEN', '~', 10000, '*', 'i', table.concat(touched, ' '))
    end
end

local function job_key(id) return P .. ':j:' .. id end
local function lane_key(level, tenant) return P .. ':q:' .. level .. ':' .. tenant end

local function lower(key, field)
    if call('HINCRBY', key, field, -1) <= 0 then call('HDEL', key, field) end
end
-- Counts a job among those that wait, or no longer.
local function enter(tenant, language)
    call('HINCRBY', P .. ':n:wait', tenant, 1)
    call('HINCRBY', P .. ':n:lang', language, 1)
end
local function leave(tenant, language)
    lower(P .. ':n:wait', tenant)
    lower(P .. ':n:lang', language)
end

local function ready_count()
    return call('ZCARD', P .. ':s:0') + call('ZCARD', P .. ':s:1') + call('ZCARD', P .. ':s:2')
end
-- Wakes one worker that waits; whoever claims and leaves some wakes the next.
local function signal()
    if call('EXISTS', P .. ':sig') == 0 then call('RPUSH', P .. ':sig', 1) end
end

-- Notes an event of a job. (Not by one format: `%s` ends at a zero byte.)
local function note(id, at, token, name, data)
    call('RPUSH', P .. ':e:' .. id, string.format('%.0f %s ', at, token) .. name .. '\n' .. data)
end

-- Puts a job into its tenant's lane.
local function make_ready(id, level, tenant, ordinal)
    local lane = lane_key(level, tenant)
    call('HSET', job_key(id), 's', 'ready', 'v', now)
    call('ZADD', lane, ordinal, id)
    if call('ZCARD', lane) == 1 then call('RPUSH', P .. ':g:' .. level, tenant) end
    call('ZADD', P .. ':s:' .. level, now, id)
end
local function put_off(id, till)
    call('HSET', job_key(id), 's', 'delayed', 'u', till)
    call('ZADD', P .. ':delayed', till, id)
end

-- The state of a job, or nil if there is none or its time is up.
local function state_of(id)
    local job = call('HMGET', job_key(id), 's', 'u')
    local state = job[1]
    if not state then return nil end
    if (state == 'done' or state == 'dead' or state == 'cancelled') and tonumber(job[2]) <= now then
        return nil
    end
    return state
end

-- About how many jobs will have been begun when this is, with itself.
local function position(id, level, tenant)
    local before = 0
    for higher = 0, level - 1 do before = before + call('ZCARD', P .. ':s:' .. higher) end
    local rank = call('ZRANK', lane_key(level, tenant), id) or 0
    local rounds = rank * call('LLEN', P .. ':g:' .. level) + 1
    return before + math.min(rounds, call('ZCARD', P .. ':s:' .. level))
end
