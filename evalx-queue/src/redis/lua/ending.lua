-- How attempts fail and jobs end. ARGV[1..5] are the configuration's
-- max_crashes, dead_ttl, max_dead, backoff and backoff_cap.
local max_crashes, dead_ttl, max_dead = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])

-- Ends a job that nobody has, and that no longer counts as waiting.
local function finish_as(id, state, ttl, blobs)
    if state == 'dead' then ttl = dead_ttl end
    ttl = tonumber(ttl)
    local key, till = job_key(id), now + ttl
    call('HSET', key, 's', state, 'f', now, 'u', till)
    call('ZADD', P .. ':d:' .. state, till, id)
    call('PEXPIRE', key, ttl)
    call('PEXPIRE', P .. ':p:' .. id, ttl)
    call('PEXPIRE', P .. ':e:' .. id, ttl)
    if state ~= 'done' then call('PEXPIRE', P .. ':x:' .. id, ttl) end
    for blob in string.gmatch(blobs or '', '%S+') do
        if call('HINCRBY', P .. ':pins', blob, -1) <= 0 then
            call('HDEL', P .. ':pins', blob)
            call('PEXPIRE', P .. ':b:' .. blob, ttl)
        end
    end
    if state == 'dead' and call('ZCARD', P .. ':d:dead') > max_dead then
        forget(call('ZRANGE', P .. ':d:dead', 0, 0)[1])
    end
    touch(id)
end

-- Notes why an attempt failed; the last ones are kept.
local function note_error(id, attempt, worker, error)
    local key = P .. ':x:' .. id
    call('RPUSH', key, string.format('%s %.0f ', attempt, now) .. (worker or '') .. '\n' .. error)
    call('LTRIM', key, -16, -1)
end

-- Takes a job from its worker.
local function take_back(id, tenant)
    call('ZREM', P .. ':lease', id)
    lower(P .. ':n:fly', tenant)
end

-- How a job whose attempt failed ends; nil if it gets another.
local function verdict(cancelled, crashes, attempt, max_attempts, is_late)
    if cancelled then return 'cancelled' end
    if crashes >= max_crashes or attempt >= max_attempts or is_late then return 'dead' end
    return nil
end

-- Makes ready what is due.
local function promote()
    local due = call('ZRANGEBYSCORE', P .. ':delayed', '-inf', now, 'LIMIT', 0, 100)
    for _, id in ipairs(due) do
        call('ZREM', P .. ':delayed', id)
        local job = call('HMGET', job_key(id), 't', 'p', 'n')
        make_ready(id, job[2], job[1], job[3])
        touch(id)
    end
    return #due
end

-- Takes back what lost workers had.
local function reap()
    local over = call('ZRANGEBYSCORE', P .. ':lease', '-inf', now, 'LIMIT', 0, 100)
    for _, id in ipairs(over) do
        local job = call('HMGET', job_key(id), 't', 'l', 'p', 'n', 'a', 'c', 'M', 'z', 'x', 'r', 'B', 'w', 'k')
        take_back(id, job[1])
        local crashes = tonumber(job[6] or 0) + 1
        call('HSET', job_key(id), 'c', crashes)
        call('HINCRBY', P .. ':ctl', 'crashes', 1)
        note_error(id, job[5], job[12], 'WORKER_LOST')
        local is_late = job[9] and tonumber(job[9]) <= now
        local state = verdict(job[8], crashes, tonumber(job[5]), tonumber(job[7]), is_late)
        if state then
            finish_as(id, state, job[10], job[11])
        else
            note(id, now, job[13], 'lost', 'WORKER_LOST')
            call('HINCRBY', P .. ':ctl', 'retries', 1)
            enter(job[1], job[2])
            make_ready(id, job[3], job[1], job[4])
            touch(id)
        end
    end
    return #over
end
