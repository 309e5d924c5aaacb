-- Forgets ended jobs, with all that is kept of them.
local function forget(ids)
    load(ids)
    local keys = {}
    for _, id in ipairs(ids) do
        local job = jobs[id]
        if job then
            gather('ZREM', P .. ':d:' .. job[STATE], id)
            if job[KEY] ~= '' then
                local key = P .. ':i:' .. #job[TENANT] .. ':' .. job[TENANT] .. ':' .. job[KEY]
                if string.sub(call('GET', key) or '', 1, #id) == id then call('DEL', key) end
            end
            for blob in string.gmatch(job[BLOBS], '%S+') do
                if call('HEXISTS', P .. ':pins', blob) == 0 then call('DEL', P .. ':b:' .. blob) end
            end
        end
        jobs[id] = false
        for _, kind in ipairs({':j:', ':p:', ':r:', ':e:', ':x:'}) do keys[#keys + 1] = P .. kind .. id end
    end
    if #keys > 0 then call('DEL', unpack(keys)) end
end
