-- Puts dead jobs back. ARGV: their ids.
local requeued = 0
load(ARGV)
for _, id in ipairs(ARGV) do
    local job = known(id)
    if job and job[STATE] == 'dead' then
        gather('ZREM', ENDED.dead, id)
        for blob in each_blob(job[BLOBS]) do
            if call('EXISTS', P .. ':b:' .. blob) == 1 then
                call('HINCRBY', P .. ':pins', blob, 1)
                call('PERSIST', P .. ':b:' .. blob)
            end
        end
        note(id, job[FINISHED], job[TOKEN], 'dead', last_error(id))
        note(id, now, job[TOKEN], 'requeued', '')
        set('ordinal', (ctl.ordinal or 0) + 1)
        job[ORDINAL], job[ATTEMPT], job[CRASHES], job[CANCEL] = ctl.ordinal, 0, 0, 0
        job[EXPIRES], job[FINISHED] = 0, 0
        wait(job, 1)
        make_ready(id)
        touch(id)
        requeued = requeued + 1
    end
end
save()
if requeued > 0 then signal() end
return requeued
