-- Tidies a little.
call('DEL', NONE)
local promoted, reaped, forgotten = promote(), reap(), 0
write_gathered()
for _, state in ipairs({'done', 'dead', 'cancelled'}) do
    local over = due(ENDED[state], '100')
    forgotten = forgotten + #over
    forget(over)
    write_gathered()
end
if all_ready() > 0 then signal() end
save()
return {promoted, reaped, forgotten}
