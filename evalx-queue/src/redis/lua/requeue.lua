-- Puts dead jobs back. ARGV: their ids.
local requeued = 0
for _, id in ipairs(ARGV) do
    if state_of(id) == 'dead' then
        local key = job_key(id)
        local ordinal = call('HINCRBY', P .. ':ctl', 'ordinal', 1)
        local job = call('HMGET', key, 't', 'l', 'p', 'k', 'f', 'B')
        call('ZREM', P .. ':d:dead', id)
        for _, kind in ipairs({':j:', ':p:', ':e:', ':x:'}) do call('PERSIST', P .. kind .. id) end
        for blob in string.gmatch(job[6] or '', '%S+') do
            if call('EXISTS', P .. ':b:' .. blob) == 1 then
                call('HINCRBY', P .. ':pins', blob, 1)
                call('PERSIST', P .. ':b:' .. blob)
            end
        end
        local why = string.match(call('LINDEX', P .. ':x:' .. id, -1) or '', '^[^\n]*\n(.*)$') or ''
        note(id, tonumber(job[5]), job[4] or 0, 'dead', why)
        note(id, now, job[4] or 0, 'requeued', '')
        call('HDEL', key, 'c', 'z', 'x', 'f')
        call('HSET', key, 'n', ordinal, 'a', 0)
        enter(job[1], job[2])
        make_ready(id, job[3], job[1], ordinal)
        touch(id)
        requeued = requeued + 1
    end
end
if requeued > 0 then signal() end
tell()
return requeued
