-- Puts dead jobs back. ARGV[2..]: their ids. Gives how many there were.
local ids, requeued = open(2), 0
for _, id in ipairs(ids) do
    local job = known(id)
    if job and job[STATE] == 'dead' then
        gather('ZREM', P .. ':d:dead', id)
        note(id, job[FINISHED], job[TOKEN], 'dead', last_error(id))
        note(id, now, job[TOKEN], 'requeued', '')
        book[ORDINAL] = book[ORDINAL] + 1
        job[ORDINAL], job[ATTEMPT], job[CRASHES], job[CANCEL] = book[ORDINAL], 0, 0, 0
        job[EXPIRES], job[FINISHED] = 0, 0
        count('lang', job[LANGUAGE], 1)
        make_ready(id)
        touch(id)
        requeued = requeued + 1
    end
end
if requeued > 0 then signal() end
save()
return requeued
