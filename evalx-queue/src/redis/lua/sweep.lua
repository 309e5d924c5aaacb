-- Tidies a little.
open()
call('DEL', NONE)
local promoted, reaped = catch_up()
local forgotten = 0
for _, state in ipairs({'done', 'dead', 'cancelled'}) do
    local over = due(P .. ':d:' .. state, '100')
    forgotten = forgotten + #over
    forget(over)
    write_gathered()
end
if all_ready() > 0 then signal() end
save()
return {promoted, reaped, forgotten}
