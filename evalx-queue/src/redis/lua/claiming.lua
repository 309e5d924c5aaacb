-- Who is next.
--
-- Each priority has a ring of the tenants that have ready jobs. A claim takes
-- the first job of the tenant in front, who then goes to the end. Here that is
-- played for all jobs of a claim, before anything is taken.

-- How many tenants at their cap a claim passes over in a ring.
local SCAN = 32

-- The front of a ring, as far as `most` jobs can lead.
local function open_ring(level, most)
    local ring = call('LRANGE', P .. ':g:' .. level, '0', most + SCAN - 1)
    return {tenants = ring, loaded = #ring, is_whole = #ring < most + SCAN, front = 1, passes = SCAN}
end

-- The lane of the tenant whose turn it is, or nil if there is none.
local function turn(ring, level, cap)
    for _ = ring.front, #ring.tenants do
        local tenant = ring.tenants[ring.front]
        if not cap or in_flight(tenant) < cap then
            ring.front = ring.front + 1
            local lane = lane_of(level, tenant)
            lane.size = lane.size - 1
            if lane.size > 0 then ring.tenants[#ring.tenants + 1] = tenant end
            count(':n:fly', tenant, 1)
            return lane
        end
        if ring.passes == 0 then return nil end
        ring.passes = ring.passes - 1
        ring.front = ring.front + 1
        ring.tenants[#ring.tenants + 1] = tenant
    end
    return nil
end

-- Writes how a ring stands now, unless it stands as before.
local function close_ring(ring, level)
    local tenants, loaded, from = ring.tenants, ring.loaded, ring.front - 1
    local is_same = ring.is_whole and #tenants - from == loaded
    for at = 1, is_same and loaded or 0 do is_same = is_same and tenants[at] == tenants[from + at] end
    if is_same or from == 0 then return end
    local key = P .. ':g:' .. level
    call('LTRIM', key, math.min(from, loaded), -1)
    local back = {}
    for at = math.max(from, loaded) + 1, #tenants do back[#back + 1] = tenants[at] end
    if #back > 0 then call('RPUSH', key, unpack(back)) end
end

-- The lane of the next job: of the first priority that has one, except that
-- each sixteenth time the last one comes first.
local function next_lane(rings, most, cap)
    local levels = 0
    for level = 0, 2 do if ready(level) > 0 then levels = levels + 1 end end
    local from, to, step = 0, 2, 1
    if levels > 1 then
        set('turn', ((ctl.turn or 0) + 1) % 16)
        if ctl.turn == 0 then from, to, step = 2, 0, -1 end
    end
    for level = from, to, step do
        if counts[level] > 0 then
            local ring = rings[level] or open_ring(level, most)
            rings[level] = ring
            local lane = turn(ring, level, cap)
            if lane then
                counts[level] = counts[level] - 1
                return lane
            end
        end
    end
    return nil
end

-- Takes up to `most` ids out of their lanes. They count as in flight.
local function pick(most, cap)
    local rings, picks, taken = {}, {}, {}
    for at = 1, most do
        local lane = next_lane(rings, most, cap)
        if not lane then break end
        picks[at] = lane
        taken[lane] = (taken[lane] or 0) + 1
    end
    for level, ring in pairs(rings) do close_ring(ring, level) end
    local popped = {}
    for lane, number in pairs(taken) do
        popped[lane] = call('ZPOPMIN', lane.key, number)
        taken[lane] = 0
    end
    local ids = {}
    for at, lane in ipairs(picks) do
        taken[lane] = taken[lane] + 1
        ids[at] = popped[lane][taken[lane] * 2 - 1]
    end
    return ids
end

-- What a worker is given of jobs that are its own for so long.
local function hand_out(ids, valid)
    local keys, claimed = {}, {}
    for at, id in ipairs(ids) do keys[at] = P .. ':p:' .. id end
    if #ids == 0 then return claimed end
    for at, payload in ipairs(call('MGET', unpack(keys))) do
        claimed[at] = {ids[at], valid[at], pack(jobs[ids[at]]), payload or ''}
    end
    return claimed
end

-- Hands out up to `most` jobs. `terms` are lease, grace, tenant_in_flight, nonce.
local function claim(worker, most, terms)
    if ctl.paused or most == 0 then return {} end
    local lease, grace = tonumber(terms[1]), tonumber(terms[2])
    local cap = tonumber(ctl.tenant_in_flight or terms[3])
    local held, valid, record, expired = {}, {}, {terms[4]}, 0
    while #held < most and expired < 100 do
        local ids = pick(most - #held, cap)
        if #ids == 0 then break end
        load(ids)
        for _, id in ipairs(ids) do
            local job = jobs[id]
            wait(job, -1)
            gather('ZREM', READY[job[LEVEL]], id)
            if job[EXPIRES] > 0 and job[EXPIRES] <= now then
                expired = expired + 1
                count(':n:fly', job[TENANT], -1)
                note_error(id, 'EXPIRED')
                finish_as(id, 'dead')
            else
                local length = math.min(lease, job[MAX_RUN] + grace)
                job[STATE], job[UNTIL], job[STARTED], job[WORKER] = 'active', now + length, now, worker
                job[ATTEMPT], job[TOKEN] = job[ATTEMPT] + 1, job[TOKEN] + 1
                touch(id)
                gather('ZADD', LEASE, digits(now + length), id)
                held[#held + 1], valid[#valid + 1] = id, length
                record[#record + 1] = id .. ' ' .. job[TOKEN]
            end
        end
    end
    if #held > 0 then
        -- So that a claim whose answer was lost gets the same jobs when it is repeated.
        call('SET', P .. ':w:' .. worker, table.concat(record, '\n'), 'PX', lease)
    end
    if all_ready() == 0 then
        call('DEL', P .. ':sig')
    elseif #held > 0 then
        signal()
    end
    local claimed = hand_out(held, valid)
    for _, job in ipairs(claimed) do put(job_key(job[1]), job[3]) end
    return claimed
end

-- The jobs that the claim of this nonce got before and still has, or nil if
-- there was none.
local function claimed_before(worker, nonce)
    local record = call('GET', P .. ':w:' .. worker)
    if not record or string.sub(record, 1, #nonce + 1) ~= nonce .. '\n' then return nil end
    local held, valid = {}, {}
    for id, token in string.gmatch(string.sub(record, #nonce + 2), '(%S+) (%d+)') do
        local job = known(id)
        if job and job[STATE] == 'active' and job[TOKEN] == tonumber(token) and job[SETTLED] ~= job[TOKEN] then
            held[#held + 1], valid[#valid + 1] = id, math.max(0, job[UNTIL] - now)
        end
    end
    return hand_out(held, valid)
end

-- How long until something happens by itself, in milliseconds; -1 for never.
local function next_change()
    local soonest = -1
    for _, key in ipairs({P .. ':delayed', LEASE}) do
        local first = call('ZRANGE', key, 0, 0, 'WITHSCORES')
        if first[2] then
            local left = math.max(0, tonumber(first[2]) - now)
            if soonest < 0 or left < soonest then soonest = left end
        end
    end
    return soonest
end
