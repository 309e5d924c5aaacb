-- Settles jobs, and takes others in the same step. ARGV[2..5] as in claim, then
-- for each settlement: id, how it ended, the result or the error, the result's
-- blobs, and the events before its end. Gives for each whether it was settled, by
-- one digit, and then the jobs as claim does.
local ids, record = open(6, 5, P .. ':w:' .. ARGV[2])
call('DEL', NONE)
local worker, most, connection, nonce = ARGV[2], tonumber(ARGV[3]), ARGV[4], ARGV[5]

local function finish(id, job, result, blobs)
    for blob in string.gmatch(blobs, '%S+') do
        if call('EXISTS', P .. ':b:' .. blob) == 1 then
            pin(blob)
            job[BLOBS] = job[BLOBS] .. ' ' .. blob
        end
    end
    put(P .. ':r:' .. id, result)
    local ran = math.max(0, now - job[STARTED])
    book[AVERAGE] = book[AVERAGE] == 0 and ran or math.floor((book[AVERAGE] * 7 + ran) / 8)
    book[COMPLETED] = book[COMPLETED] + 1
    finish_as(id, 'done')
end

local function try_again(id, job, error, delay)
    note(id, now, job[TOKEN], 'retrying', error)
    book[RETRIES] = book[RETRIES] + 1
    if delay == 0 then return return_to_lane(id, job) end
    count('lang', job[LANGUAGE], 1)
    put_off(id, now + delay)
    touch(id)
end

local function settle(at, id)
    local ending = {UNPACK(ending, ARGV[at])}
    local token, kind = ending[TOKEN], ending[KIND]
    local job, was_settled = held(id, token)
    if not job then return was_settled and '1' or '0' end
    if ARGV[at + 3] ~= '' then tell(id, job, ARGV[at + 3]) end
    job[SETTLED] = token
    take_back(id, job)
    if kind == 'done' then
        finish(id, job, ARGV[at + 1], ARGV[at + 2])
    elseif kind == 'cancelled' then
        finish_as(id, 'cancelled')
    elseif kind == 'rejected' then
        note_error(id, ARGV[at + 1])
        finish_as(id, 'dead')
    else
        if kind == 'crashed' then
            job[CRASHES] = job[CRASHES] + 1
            book[CRASHED] = book[CRASHED] + 1
        end
        note_error(id, ARGV[at + 1])
        local delay = ending[DELAY]
        if delay < 0 then
            local longest = math.min(terms[BACKOFF_CAP], terms[BACKOFF] * 2 ^ math.min(job[ATTEMPT] - 1, 30))
            delay = math.floor(longest * -delay)
        end
        local state = verdict(job, now + delay)
        if state then finish_as(id, state) else try_again(id, job, ARGV[at + 1], delay) end
    end
    return '1'
end

local settled = {}
for at = 1, #ids do settled[at] = settle(2 + 5 * at, ids[at]) end
local answer = {table.concat(settled)}
write_gathered()

local held = most > 0 and claim_again(record, nonce, connection, answer) or nil
if not held and most > 0 then
    catch_up()
    claim(worker, most, nonce, connection, answer)
elseif all_ready() > 0 then
    -- A tenant at its cap may have its turn now, and what failed may be ready.
    signal()
end
save()
return answer
