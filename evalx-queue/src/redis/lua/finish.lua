-- Settles jobs, and takes others in the same step. ARGV[6..12] as in claim,
-- then for each settlement: id, token, kind, first and second of what belongs
-- to the kind, luck.
even_if_full()
local worker, settings = ARGV[6], {ARGV[9], ARGV[10], ARGV[11], ARGV[12]}
local backoff, backoff_cap = tonumber(ARGV[4]), tonumber(ARGV[5])
local answers, average, completed, crashed, retried = {}, tonumber(ctl[7] or 0), 0, 0, 0

local function settle(at)
    local id, token, kind = ARGV[at], ARGV[at + 1], ARGV[at + 2]
    local key = job_key(id)
    local job = call('HMGET', key, 's', 'k', 'y', 't', 'r', 'b', 'B', 'l', 'p', 'n', 'a', 'c', 'M', 'z', 'x', 'w')
    if job[3] == token and job[2] == token and state_of(id) then return 1 end
    if job[1] ~= 'active' or job[2] ~= token then return 0 end
    local tenant = job[4]
    call('HSET', key, 'y', token)
    take_back(id, tenant)
    if kind == 'done' then
        local blobs = job[7]
        for blob in string.gmatch(ARGV[at + 4], '%S+') do
            if call('EXISTS', P .. ':b:' .. blob) == 1 then
                call('HINCRBY', P .. ':pins', blob, 1)
                call('PERSIST', P .. ':b:' .. blob)
                blobs = (blobs and blobs .. ' ' or '') .. blob
            end
        end
        if blobs and blobs ~= job[7] then call('HSET', key, 'B', blobs) end
        call('SET', P .. ':r:' .. id, ARGV[at + 3], 'PX', job[5])
        local ran = math.max(0, now - tonumber(job[6]))
        average = average == 0 and ran or math.floor((average * 7 + ran) / 8)
        completed = completed + 1
        finish_as(id, 'done', job[5], blobs)
        if tonumber(job[11]) > 1 or job[12] then call('PEXPIRE', P .. ':x:' .. id, job[5]) end
        return 1
    end
    if kind == 'cancelled' then
        finish_as(id, 'cancelled', job[5], job[7])
        return 1
    end
    local error, attempt, crashes = ARGV[at + 3], tonumber(job[11]), tonumber(job[12] or 0)
    if kind == 'crashed' then
        crashes = crashes + 1
        crashed = crashed + 1
        call('HSET', key, 'c', crashes)
    end
    note_error(id, job[11], job[16], error)
    if kind == 'rejected' then
        finish_as(id, 'dead', job[5], job[7])
        return 1
    end
    local delay = tonumber(ARGV[at + 4])
    if not delay then
        local most = math.min(backoff_cap, backoff * 2 ^ math.min(attempt - 1, 30))
        delay = math.floor(most * tonumber(ARGV[at + 5]))
    end
    local is_late = job[15] and tonumber(job[15]) <= now + delay
    local state = verdict(job[14], crashes, attempt, tonumber(job[13]), is_late)
    if state then
        finish_as(id, state, job[5], job[7])
        return 1
    end
    note(id, now, token, 'retrying', error)
    retried = retried + 1
    enter(tenant, job[8])
    if delay == 0 then make_ready(id, job[9], tenant, job[10]) else put_off(id, now + delay) end
    touch(id)
    return 1
end

for at = 13, #ARGV, 6 do answers[#answers + 1] = settle(at) end
if completed > 0 then
    call('HSET', P .. ':ctl', 'average', average)
    call('HINCRBY', P .. ':ctl', 'completed', completed)
end
if crashed > 0 then call('HINCRBY', P .. ':ctl', 'crashes', crashed) end
if retried > 0 then call('HINCRBY', P .. ':ctl', 'retries', retried) end

local most = tonumber(ARGV[7])
local claimed = most > 0 and ARGV[8] == '1' and claimed_before(worker, ARGV[12]) or nil
if not claimed and most > 0 then
    promote()
    reap()
    claimed = claim(worker, most, settings)
elseif ready_count() > 0 then
    -- A tenant at its cap may have its turn now, and what failed may be ready.
    signal()
end
tell()
return {claimed or {}, answers}
