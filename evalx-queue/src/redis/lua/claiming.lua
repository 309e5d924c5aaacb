-- Who is next.
--
-- Each priority has a ring of the tenants that have ready jobs. A claim takes
-- the first job of the tenant in front, who then goes to the end. Here that is
-- played for all jobs of a claim, before anything is taken.

-- How many tenants at their cap a claim passes over in a ring.
local SCAN = 32

-- Whether a claim gave up before it had seen all: after so many tenants at their
-- cap, or so many jobs that had expired.
local gave_up = false

-- The front of a ring, as far as `most` jobs can lead.
local function open_ring(level, most)
    local ring = call('LRANGE', P .. ':g:' .. level, '0', most + SCAN - 1)
    return {tenants = ring, loaded = #ring, is_whole = #ring < most + SCAN, front = 1, passes = SCAN}
end

-- The lane of the tenant whose turn it is, or nil if there is none.
local function turn(ring, level, cap)
    for _ = ring.front, #ring.tenants do
        local tenant = ring.tenants[ring.front]
        if cap == 0 or in_flight(tenant) < cap then
            ring.front = ring.front + 1
            local lane = lane_of(level, tenant)
            lane.size = lane.size - 1
            if lane.size > 0 then ring.tenants[#ring.tenants + 1] = tenant else count('wait', tenant, -1) end
            count('fly', tenant, 1)
            return lane
        end
        if ring.passes == 0 then
            gave_up = true
            return nil
        end
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

-- The lane of the next job: of the first priority that has one, except that of
-- sixteen times one begins with the last, and one with that in the middle.
local function next_lane(rings, most, cap)
    local levels = 0
    for level = 0, 2 do if book[READY + level] > 0 then levels = levels + 1 end end
    local first, second, third = 0, 1, 2
    if levels > 1 then
        book[TURN] = (book[TURN] + 1) % 16
        if book[TURN] == 0 then first, third = 2, 0 end
        if book[TURN] == 8 then first, second = 1, 0 end
    end
    for at = 1, 3 do
        local level = at == 1 and first or at == 2 and second or third
        if book[READY + level] > 0 then
            local ring = rings[level] or open_ring(level, most)
            rings[level] = ring
            local lane = turn(ring, level, cap)
            if lane then
                book[READY + level] = book[READY + level] - 1
                return lane
            end
        end
    end
    return nil
end

-- Takes up to `most` ids out of their lanes; gives those, and the lane of each.
-- They count as in flight.
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
    for at = 1, #picks do
        local lane = picks[at]
        taken[lane] = taken[lane] + 1
        ids[at] = popped[lane][taken[lane] * 2 - 1] or ''
    end
    return ids, picks
end

-- Reads what was enqueued as these jobs, and the jobs unless they are here.
local payloads = {}
local function load_with_payloads(ids)
    local keys, most = {}, #ids
    for at = 1, most do keys[at], keys[most + at] = P .. ':p:' .. ids[at], job_key(ids[at]) end
    local values = call('MGET', unpack(keys))
    for at = 1, most do
        local id = ids[at]
        payloads[id] = values[at] or ''
        local packed = values[most + at]
        jobs[id] = jobs[id] or packed and {UNPACK(job, packed)}
    end
end

-- Tells a worker that a job is its own for so long, with what belongs to it.
local function hand_out(answer, id, length)
    local at = #answer
    local job = jobs[id]
    answer[at + 1], answer[at + 2], answer[at + 3], answer[at + 4] = id, length, PACK(job), payloads[id]
end

-- Hands out up to `most` jobs, at the end of the answer; gives how many. The
-- call is known by its nonce, and by the process and the connection it came by.
local function claim(worker, most, nonce, connection, answer)
    local cap = book[TENANT_IN_FLIGHT]
    if cap == 0 then cap = terms[TENANT_IN_FLIGHT] end
    local record, held, expired = {nonce, string.sub(connection, 1, 32)}, 0, 0
    while book[PAUSED] == 0 and held < most and expired < 100 do
        local ids, lanes = pick(most - held, cap)
        if #ids == 0 then break end
        load_with_payloads(ids)
        for at = 1, #ids do
            local id = ids[at]
            local job = jobs[id]
            gather('ZREM', P .. ':s:' .. lanes[at].level, id)
            if job then count('lang', job[LANGUAGE], -1) end
            if not job then
                -- Somebody else has removed it, and the others are not to suffer.
                expired = expired + 1
                count('fly', lanes[at].tenant, -1)
            elseif job[EXPIRES] > 0 and job[EXPIRES] <= now then
                expired = expired + 1
                count('fly', job[TENANT], -1)
                note_error(id, 'EXPIRED')
                finish_as(id, 'dead')
            else
                local length = math.min(terms[LEASE], job[MAX_RUN] + terms[GRACE])
                job[STATE], job[UNTIL], job[STARTED], job[WORKER] = 'active', now + length, now, worker
                job[ATTEMPT], job[TOKEN] = job[ATTEMPT] + 1, job[TOKEN] + 1
                touch(id)
                plan(now + length)
                gather('ZADD', LEASE, digits(now + length), id)
                held = held + 1
                record[held + 2] = id .. ' ' .. job[TOKEN]
                hand_out(answer, id, length)
                put(job_key(id), answer[#answer - 1])
            end
        end
    end
    gave_up = gave_up or expired >= 100
    -- So that a claim whose answer was lost gets the same jobs when it is repeated,
    -- and takes none if it arrives when its repetition was answered.
    if held > 0 or #connection > 32 then
        call('SET', P .. ':w:' .. worker, table.concat(record, '\n'), 'PX', terms[LEASE])
    end
    if held > 0 and all_ready() > 0 then signal() end
    return held
end

-- Hands out the jobs that this call got before and still has, at the end of the
-- answer; gives how many, or nil if it has not been here. `record` is of the
-- worker's last call: its nonce (16 letters), its connection (16 of the process and
-- 16 of the connection's number, each after the other), and its jobs, a line each.
local function claim_again(record, nonce, connection, answer)
    if not record then return nil end
    if string.sub(record, 1, 16) ~= nonce then
        -- A process goes over to another connection when an answer was too long in
        -- coming. What was sent by the one before and arrives now has been repeated.
        local last = string.sub(record, 18, 49)
        local is_same = string.sub(last, 1, 16) == string.sub(connection, 1, 16)
        return is_same and last > connection and 0 or nil
    end
    local held = 0
    for id, token in string.gmatch(string.sub(record, 51), '(%S+) (%d+)') do
        local job = known(id)
        if job and job[STATE] == 'active' and job[TOKEN] == tonumber(token) then
            load_with_payloads({id})
            held = held + 1
            hand_out(answer, id, math.max(0, job[UNTIL] - now))
        end
    end
    return held
end
