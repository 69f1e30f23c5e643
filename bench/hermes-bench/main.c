/* hermes-bench: the load tool. */
int main(void)
{
    return 0;
}
