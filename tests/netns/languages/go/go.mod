module nat

go 1.19
