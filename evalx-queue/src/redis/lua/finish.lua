-- Settles jobs, and takes others in the same step. ARGV[6..12] as in claim,
-- then for each settlement: id, token, kind, first and second of what belongs
-- to the kind, luck.
call('DEL', NONE)
local worker, terms = ARGV[6], {ARGV[9], ARGV[10], ARGV[11], ARGV[12]}
local backoff, backoff_cap = tonumber(ARGV[4]), tonumber(ARGV[5])
local average, completed, crashed, retried = tonumber(ctl.average or 0), 0, 0, 0

local function finish(id, job, result, blobs)
    for blob in each_blob(blobs) do
        if call('EXISTS', P .. ':b:' .. blob) == 1 then
            call('HINCRBY', P .. ':pins', blob, 1)
            call('PERSIST', P .. ':b:' .. blob)
            job[BLOBS] = job[BLOBS] .. ' ' .. blob
        end
    end
    put(P .. ':r:' .. id, result)
    local ran = math.max(0, now - job[STARTED])
    average = average == 0 and ran or math.floor((average * 7 + ran) / 8)
    completed = completed + 1
    finish_as(id, 'done')
end

local function try_again(id, job, error, delay, luck)
    if not delay then
        local most = math.min(backoff_cap, backoff * 2 ^ math.min(job[ATTEMPT] - 1, 30))
        delay = math.floor(most * luck)
    end
    local state = verdict(job, now + delay)
    if state then return finish_as(id, state) end
    note(id, now, job[TOKEN], 'retrying', error)
    retried = retried + 1
    wait(job, 1)
    touch(id)
    if delay == 0 then make_ready(id) else put_off(id, now + delay) end
end

local function settle(at)
    local id, token, kind, first, second = ARGV[at], tonumber(ARGV[at + 1]), ARGV[at + 2], ARGV[at + 3], ARGV[at + 4]
    local job = known(id)
    if not job or job[TOKEN] ~= token or token == 0 then return 0 end
    if job[SETTLED] == token then return 1 end
    if job[STATE] ~= 'active' then return 0 end
    job[SETTLED] = token
    take_back(id)
    if kind == 'done' then
        finish(id, job, first, second)
    elseif kind == 'cancelled' then
        finish_as(id, 'cancelled')
    elseif kind == 'rejected' then
        note_error(id, first)
        finish_as(id, 'dead')
    else
        if kind == 'crashed' then
            job[CRASHES] = job[CRASHES] + 1
            crashed = crashed + 1
        end
        note_error(id, first)
        try_again(id, job, first, tonumber(second), tonumber(ARGV[at + 5]))
    end
    return 1
end

local ids, answers = {}, {}
for at = 13, #ARGV, 6 do ids[#ids + 1] = ARGV[at] end
load(ids)
for at = 13, #ARGV, 6 do answers[#answers + 1] = settle(at) end
if completed > 0 then
    set('average', average)
    set('completed', (ctl.completed or 0) + completed)
end
if crashed > 0 then set('crashes', (ctl.crashes or 0) + crashed) end
if retried > 0 then set('retries', (ctl.retries or 0) + retried) end
write_gathered()

local most = tonumber(ARGV[7])
local claimed = most > 0 and ARGV[8] == '1' and claimed_before(worker, ARGV[12]) or nil
if not claimed and most > 0 then
    promote()
    reap()
    write_gathered()
    claimed = claim(worker, most, terms)
elseif all_ready() > 0 then
    -- A tenant at its cap may have its turn now, and what failed may be ready.
    signal()
end
save()
return {claimed or {}, answers}
