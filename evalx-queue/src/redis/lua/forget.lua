-- Forgets an ended job, with all that is kept of it.
local function forget(id)
    local job = call('HMGET', job_key(id), 's', 't', 'i', 'B')
    if job[1] then
        call('ZREM', P .. ':d:' .. job[1], id)
        if job[3] then
            local key = P .. ':i:' .. #job[2] .. ':' .. job[2] .. ':' .. job[3]
            local used = call('GET', key)
            if used and string.sub(used, 1, #id) == id then call('DEL', key) end
        end
        for blob in string.gmatch(job[4] or '', '%S+') do
            if call('HEXISTS', P .. ':pins', blob) == 0 then call('DEL', P .. ':b:' .. blob) end
        end
    end
    call('DEL', job_key(id), P .. ':p:' .. id, P .. ':r:' .. id, P .. ':e:' .. id, P .. ':x:' .. id)
end
