-- Who is next.
--
-- Each priority has a ring of the tenants that have ready jobs. A claim takes
-- the first job of the tenant in front, who then goes to the end.
local function pop(level, cap)
    local ring = P .. ':g:' .. level
    for _ = 1, math.min(call('LLEN', ring), 32) do
        local tenant = call('LMOVE', ring, ring, 'LEFT', 'RIGHT')
        if not cap or tonumber(call('HGET', P .. ':n:fly', tenant) or 0) < cap then
            local lane = lane_key(level, tenant)
            local id = call('ZPOPMIN', lane)[1]
            if call('EXISTS', lane) == 0 then call('RPOP', ring) end
            return id
        end
    end
    return nil
end

-- Hands out up to `most` jobs. `settings` are lease, grace, tenant_in_flight.
local function claim(worker, most, settings)
    local claimed, held = {}, {}
    if ctl[2] or most == 0 then return claimed end
    local lease, grace = tonumber(settings[1]), tonumber(settings[2])
    local cap = tonumber(ctl[6] or settings[3]) or nil
    local counts = {call('ZCARD', P .. ':s:0'), call('ZCARD', P .. ':s:1'), call('ZCARD', P .. ':s:2')}
    local expired = 0
    while #claimed < most and expired < 100 do
        local from, to, step = 0, 2, 1
        local levels = 0
        for level = 1, 3 do if counts[level] > 0 then levels = levels + 1 end end
        if levels > 1 and call('HINCRBY', P .. ':ctl', 'turn', 1) % 16 == 0 then from, to, step = 2, 0, -1 end
        local id, level
        for candidate = from, to, step do
            if counts[candidate + 1] > 0 then
                id, level = pop(candidate, cap), candidate
                if id then break end
            end
        end
        if not id then break end
        counts[level + 1] = counts[level + 1] - 1
        call('ZREM', P .. ':s:' .. level, id)
        local key = job_key(id)
        local job = call('HMGET', key, 't', 'l', 'm', 'q', 'v', 'r', 'a', 'k', 'c', 'x', 'T', 'B')
        local tenant = job[1]
        leave(tenant, job[2])
        if job[10] and tonumber(job[10]) <= now then
            expired = expired + 1
            note_error(id, job[7] or 0, call('HGET', key, 'w'), 'EXPIRED')
            finish_as(id, 'dead', job[6], job[12])
        else
            local attempt, token = tonumber(job[7] or 0) + 1, tonumber(job[8] or 0) + 1
            local valid = math.min(lease, tonumber(job[3]) + grace)
            call('HSET', key, 's', 'active', 'a', attempt, 'k', token, 'b', now, 'u', now + valid, 'w', worker)
            call('ZADD', P .. ':lease', now + valid, id)
            call('HINCRBY', P .. ':n:fly', tenant, 1)
            note(id, now, token, 'started', '')
            touch(id)
            held[#held + 1] = id .. ' ' .. token
            claimed[#claimed + 1] = {id, token, valid, attempt, job[9] or 0, tenant, job[2], level, job[3], job[6],
                job[4], now - tonumber(job[5]), job[11] or '', job[12] or '', call('GET', P .. ':p:' .. id) or ''}
        end
    end
    if #held > 0 then
        -- So that a claim whose answer was lost gets the same jobs when it is repeated.
        call('SET', P .. ':w:' .. worker, settings[4] .. '\n' .. table.concat(held, '\n'), 'PX', lease)
    end
    if counts[1] + counts[2] + counts[3] == 0 then
        call('DEL', P .. ':sig')
    elseif #claimed > 0 then
        signal()
    end
    return claimed
end

-- The jobs that the claim of this nonce got before and still has, or nil if
-- there was none.
local function claimed_before(worker, nonce)
    local record = call('GET', P .. ':w:' .. worker)
    if not record or string.sub(record, 1, #nonce + 1) ~= nonce .. '\n' then return nil end
    local claimed = {}
    for id, token in string.gmatch(string.sub(record, #nonce + 2), '(%S+) (%d+)') do
        local job = call('HMGET', job_key(id), 't', 'l', 'm', 'q', 'v', 'r', 'a', 'k', 'c', 's', 'T', 'B', 'p', 'u', 'y')
        if job[10] == 'active' and job[8] == token and job[15] ~= token then
            claimed[#claimed + 1] = {id, tonumber(token), math.max(0, tonumber(job[14]) - now), tonumber(job[7]),
                job[9] or 0, job[1], job[2], tonumber(job[13]), job[3], job[6], job[4], now - tonumber(job[5]),
                job[11] or '', job[12] or '', call('GET', P .. ':p:' .. id) or ''}
        end
    end
    return claimed
end

-- How long until something happens by itself, in milliseconds; -1 for never.
local function next_change()
    local soonest = -1
    for _, key in ipairs({':delayed', ':lease'}) do
        local first = call('ZRANGE', P .. key, 0, 0, 'WITHSCORES')
        if first[2] then
            local left = math.max(0, tonumber(first[2]) - now)
            if soonest < 0 or left < soonest then soonest = left end
        end
    end
    return soonest
end
