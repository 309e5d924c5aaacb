-- About how many jobs will have been begun when a ready one is, with itself.
local function position(id, job)
    local level, before = job[LEVEL], 0
    for higher = 0, level - 1 do before = before + book[READY + higher] end
    local rank = call('ZRANK', lane_key(level, job[TENANT]), id) or 0
    local rounds = rank * call('LLEN', P .. ':g:' .. level) + 1
    return before + math.min(rounds, book[READY + level])
end

-- All that can be seen of a job; false if there is none.
local function view(id, with_result)
    local job = known(id)
    if not job then return false end
    local place = job[STATE] == 'ready' and position(id, job) or -1
    local errors = call('LRANGE', P .. ':x:' .. id, 0, -1)
    local result = with_result and job[STATE] == 'done' and call('GET', P .. ':r:' .. id)
    return {id, PACK(job), place, errors, result}
end
