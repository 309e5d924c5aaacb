-- How attempts fail and jobs end. ARGV[1..5] are the configuration's
-- max_crashes, dead_ttl, max_dead, backoff and backoff_cap.
local max_crashes, dead_ttl, max_dead = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])

-- Ends a job that nobody has, and that no longer counts as waiting.
local function finish_as(id, state)
    local job = jobs[id]
    local ttl = state == 'dead' and dead_ttl or job[TTL]
    local till = now + ttl
    job[STATE], job[FINISHED], job[UNTIL] = state, now, till
    mark(id)
    touch(id)
    for blob in each_blob(job[BLOBS]) do
        if call('HINCRBY', P .. ':pins', blob, -1) <= 0 then
            call('HDEL', P .. ':pins', blob)
            call('PEXPIRE', P .. ':b:' .. blob, ttl)
        end
    end
    if state ~= 'dead' then
        gather('ZADD', ENDED[state], digits(till), id)
    else
        call('ZADD', ENDED.dead, till, id)
        if call('ZCARD', ENDED.dead) > max_dead then
            forget({call('ZRANGE', ENDED.dead, 0, 0)[1]})
            write_gathered()
        end
    end
end

-- Notes why an attempt failed; the last ones are kept.
local function note_error(id, error)
    local key, job = P .. ':x:' .. id, jobs[id]
    call('RPUSH', key, string.format('%.0f %.0f ', job[ATTEMPT], now) .. job[WORKER] .. '\n' .. error)
    call('LTRIM', key, -16, -1)
end

-- Takes a job from its worker.
local function take_back(id)
    gather('ZREM', LEASE, id)
    count(':n:fly', jobs[id][TENANT], -1)
end

-- How a job whose attempt failed ends, if it gets no other before `due`.
local function verdict(job, due)
    if job[CANCEL] == 1 then return 'cancelled' end
    local is_late = job[EXPIRES] > 0 and job[EXPIRES] <= due
    if job[CRASHES] >= max_crashes or job[ATTEMPT] >= job[MAX_ATTEMPTS] or is_late then return 'dead' end
    return nil
end

-- The first so many ids that are due in a set by time.
local function due(set, most)
    local ids, there = call('ZRANGEBYSCORE', set, '-inf', now, 'LIMIT', '0', most), {}
    if #ids == 0 then return there end
    load(ids)
    for _, id in ipairs(ids) do
        if jobs[id] then there[#there + 1] = id else gather('ZREM', set, id) end
    end
    return there
end

-- Makes ready what is due.
local function promote()
    local ids = due(P .. ':delayed', '100')
    for _, id in ipairs(ids) do
        gather('ZREM', P .. ':delayed', id)
        make_ready(id)
        touch(id)
    end
    return #ids
end

-- Takes back what lost workers had.
local function reap()
    local ids = due(LEASE, '100')
    if #ids == 0 then return 0 end
    local retried = 0
    for _, id in ipairs(ids) do
        local job = jobs[id]
        take_back(id)
        job[CRASHES] = job[CRASHES] + 1
        mark(id)
        note_error(id, 'WORKER_LOST')
        local state = verdict(job, now)
        if state then
            finish_as(id, state)
        else
            note(id, now, job[TOKEN], 'lost', 'WORKER_LOST')
            retried = retried + 1
            wait(job, 1)
            make_ready(id)
            touch(id)
        end
    end
    set('crashes', (ctl.crashes or 0) + #ids)
    set('retries', (ctl.retries or 0) + retried)
    return #ids
end
