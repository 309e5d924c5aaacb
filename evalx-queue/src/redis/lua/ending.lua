-- How attempts fail and jobs end.

-- Ends a job that nobody has, and that no longer counts as waiting.
local function finish_as(id, state)
    local job = jobs[id]
    local till = now + (state == 'dead' and terms[DEAD_TTL] or job[TTL])
    job[STATE], job[FINISHED], job[UNTIL] = state, now, till
    changed[id] = true
    touch(id)
    if state ~= 'dead' then
        gather('ZADD', P .. ':d:' .. state, digits(till), id)
    else
        call('ZADD', P .. ':d:dead', till, id)
        if call('ZCARD', P .. ':d:dead') > terms[MAX_DEAD] then
            -- It can be this very job: what is gathered of it must not come after.
            write_gathered()
            forget({call('ZRANGE', P .. ':d:dead', 0, 0)[1]})
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

-- The job of a lease that still holds; else nil, and whether it was settled by it.
local function held(id, token)
    local job = known(id)
    if not job or token == 0 then return nil, false end
    if job[SETTLED] == token then return nil, true end
    if job[TOKEN] ~= token or job[STATE] ~= 'active' then return nil, false end
    return job
end

-- Takes a job from its worker.
local function take_back(id, job)
    gather('ZREM', LEASE, id)
    count('fly', job[TENANT], -1)
end

-- Makes a job ready that was taken back.
local function return_to_lane(id, job)
    count('lang', job[LANGUAGE], 1)
    make_ready(id)
    touch(id)
end

-- How a job whose attempt failed ends, if it gets no other before `due`.
local function verdict(job, due)
    if job[CANCEL] == 1 then return 'cancelled' end
    local is_late = job[EXPIRES] > 0 and job[EXPIRES] <= due
    if job[CRASHES] >= terms[MAX_CRASHES] or job[ATTEMPT] >= job[MAX_ATTEMPTS] or is_late then return 'dead' end
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

-- Does what has become due: makes ready what was put off, and takes back what
-- lost workers had. Gives how many of each.
local function catch_up()
    if now < book[DUE] then return 0, 0 end
    local ripe, lost = due(P .. ':delayed', '100'), due(LEASE, '100')
    for _, id in ipairs(ripe) do
        local job = jobs[id]
        count('wait', job[TENANT], -1)
        gather('ZREM', P .. ':delayed', id)
        make_ready(id)
        touch(id)
    end
    for _, id in ipairs(lost) do
        local job = jobs[id]
        take_back(id, job)
        job[CRASHES] = job[CRASHES] + 1
        changed[id] = true
        note_error(id, 'WORKER_LOST')
        local state = verdict(job, now)
        if state then
            finish_as(id, state)
        else
            note(id, now, job[TOKEN], 'lost', 'WORKER_LOST')
            book[RETRIES] = book[RETRIES] + 1
            return_to_lane(id, job)
        end
    end
    book[CRASHED] = book[CRASHED] + #lost
    write_gathered()
    -- What is due next; beyond all times if nothing is.
    book[DUE] = 2 ^ 53
    for _, key in ipairs({P .. ':delayed', LEASE}) do
        local first = call('ZRANGE', key, 0, 0, 'WITHSCORES')
        if first[2] then plan(tonumber(first[2])) end
    end
    return #ripe, #lost
end
