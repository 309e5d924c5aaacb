-- Hands jobs back. ARGV[6..]: id, token of each.
call('DEL', NONE)
local ids, answers = {}, {}
for at = 6, #ARGV, 2 do ids[#ids + 1] = ARGV[at] end
load(ids)
local function release(id, token)
    local job = known(id)
    if not job or job[TOKEN] ~= token or token == 0 then return 0 end
    if job[SETTLED] == token then return 1 end
    if job[STATE] ~= 'active' then return 0 end
    job[SETTLED], job[ATTEMPT] = token, job[ATTEMPT] - 1
    take_back(id)
    if job[CANCEL] == 1 then
        finish_as(id, 'cancelled')
    else
        note(id, now, token, 'released', '')
        wait(job, 1)
        make_ready(id)
        touch(id)
    end
    return 1
end
for at, id in ipairs(ids) do answers[at] = release(id, tonumber(ARGV[at * 2 + 5])) end
write_gathered()
if all_ready() > 0 then signal() end
save()
return answers
