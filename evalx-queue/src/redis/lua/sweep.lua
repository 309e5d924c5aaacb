-- Tidies a little.
even_if_full()
local promoted, reaped, forgotten = promote(), reap(), 0
for _, state in ipairs({'done', 'dead', 'cancelled'}) do
    for _, id in ipairs(call('ZRANGEBYSCORE', P .. ':d:' .. state, '-inf', now, 'LIMIT', 0, 100)) do
        -- Redis may have forgotten the job itself by then, and there may even be
        -- a new one of this id.
        call('ZREM', P .. ':d:' .. state, id)
        if not state_of(id) then forget(id) end
        forgotten = forgotten + 1
    end
end
if ready_count() > 0 then signal() end
tell()
return {promoted, reaped, forgotten}
