-- Why the last attempt at a job failed.
local function last_error(id)
    return string.match(call('LINDEX', P .. ':x:' .. id, -1) or '', '^[^\n]*\n(.*)$') or ''
end
