#include <iostream>

int main() {
    std::cout << "hello from the sandbox\n";
}
