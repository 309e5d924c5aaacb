-- What was enqueued. ARGV[2]: the job's id.
open(2)
if not known(ARGV[2]) then return false end
return call('GET', P .. ':p:' .. ARGV[2])
