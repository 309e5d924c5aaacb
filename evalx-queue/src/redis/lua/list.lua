-- A page of the jobs in one state. ARGV[2..]: state, offset, limit.
open()
local state, offset, limit = ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local ids, total = {}, 0
if state == 'ready' then
    for level = 0, 2 do
        local key = P .. ':s:' .. level
        local count = book[READY + level]
        total = total + count
        if limit > #ids and offset < count then
            local more = call('ZRANGE', key, offset, offset + limit - #ids - 1)
            for _, id in ipairs(more) do ids[#ids + 1] = id end
        end
        offset = math.max(0, offset - count)
    end
elseif state == 'delayed' or state == 'active' then
    local key = P .. (state == 'delayed' and ':delayed' or ':lease')
    total = call('ZCARD', key)
    ids = call('ZRANGE', key, offset, offset + limit - 1)
else
    local key = P .. ':d:' .. state
    total = call('ZCOUNT', key, '(' .. string.format('%.0f', now), '+inf')
    ids = call('ZREVRANGE', key, offset, offset + limit - 1)
end
load(ids)
local page = {}
for _, id in ipairs(ids) do
    local job = view(id)
    if job then page[#page + 1] = job end
end
return {total, page}
