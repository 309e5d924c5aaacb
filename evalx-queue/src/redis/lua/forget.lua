-- A job that names a blob is gone: the blob is kept for the rest of its own time.
local function unpin(blob)
    local pins, own = P .. ':pins', blob .. ' till'
    if call('HINCRBY', pins, blob, -1) > 0 then return end
    local till = tonumber(call('HGET', pins, own) or now)
    call('HDEL', pins, blob, own)
    call('PEXPIRE', P .. ':b:' .. blob, math.max(1, till - now))
end

-- Where a job is noted under its idempotency key.
local function note_of_key(job) return P .. ':i:' .. #job[TENANT] .. ':' .. job[TENANT] .. ':' .. job[KEY] end

-- Forgets ended jobs, with all that is kept of them.
local function forget(ids)
    load(ids)
    local keys = {}
    for _, id in ipairs(ids) do
        local job = jobs[id]
        if job then
            gather('ZREM', P .. ':d:' .. job[STATE], id)
            if job[KEY] ~= '' then
                local key = note_of_key(job)
                if string.sub(call('GET', key) or '', 1, #id) == id then call('DEL', key) end
            end
            for blob in string.gmatch(job[BLOBS], '%S+') do unpin(blob) end
        end
        jobs[id] = false
        for _, kind in ipairs({':j:', ':p:', ':r:', ':e:', ':x:'}) do keys[#keys + 1] = P .. kind .. id end
    end
    if #keys > 0 then call('DEL', unpack(keys)) end
end
