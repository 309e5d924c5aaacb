-- Hands jobs back. ARGV[2..]: id, token of each. Gives for each whether that
-- counted, by one digit.
local ids, answers = open(2, 2), {}
call('DEL', NONE)
local function release(id, token)
    local job, was_settled = held(id, token)
    if not job then return was_settled and '1' or '0' end
    job[SETTLED], job[ATTEMPT] = token, job[ATTEMPT] - 1
    take_back(id, job)
    if job[CANCEL] == 1 then
        finish_as(id, 'cancelled')
    else
        -- A job can be handed back as often as one likes, and its events are not to grow with it.
        if call('LLEN', P .. ':e:' .. id) < terms[MAX_EVENTS] + 100 then note(id, now, token, 'released', '') end
        return_to_lane(id, job)
    end
    return '1'
end
for at = 1, #ids do answers[at] = release(ids[at], tonumber(ARGV[at * 2 + 1])) end
write_gathered()
if all_ready() > 0 then signal() end
save()
return table.concat(answers)
