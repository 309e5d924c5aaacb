-- A job as it is now. ARGV[2]: its id.
open(2)
return view(ARGV[2], true)
